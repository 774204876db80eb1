package tui

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif"  // decodes GIF
	_ "image/jpeg" // decodes JPEG
	_ "image/png"  // decodes PNG
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // decodes WebP
)

const (
	// maxPixels bounds an image before it is decoded: 160 MB of memory, for one at a time.
	maxPixels = 40_000_000
	// The size of a preview in cells. A cell shows two pixels, one above the other.
	maxPreviewColumns, maxPreviewRows = 48, 16
)

var errTooLarge = errors.New("too many pixels")

// picture is an image of a message. It is immutable, except for preview.
type picture struct {
	format        string // as package image names it; empty: not an image that can be shown
	width, height int    // pixels
	preview       *image.NRGBA
	broken        bool // it could not be decoded
}

// newPicture looks at the header of an image file.
func newPicture(content []byte) *picture {
	config, format, err := image.DecodeConfig(bytes.NewReader(content))
	if err != nil || config.Width <= 0 || config.Height <= 0 {
		return &picture{broken: true}
	}
	p := &picture{format: format, width: config.Width, height: config.Height}
	p.broken = p.width > maxPixels/p.height
	return p
}

// size returns the preview's size in cells on a screen of so many columns, before it is
// decoded too.
func (p *picture) size(columns int) (w, h int) {
	if p.broken {
		return 0, 0
	}
	columns = min(columns, maxPreviewColumns)
	scale := min(float64(columns)/float64(p.width), 2*maxPreviewRows/float64(p.height), 1)
	w = max(int(float64(p.width)*scale), 1)
	h = max((int(float64(p.height)*scale)+1)/2, 1)
	return w, h
}

// decodePreview returns an image file as an image of at most the size of a preview.
func decodePreview(content []byte) (preview *image.NRGBA, err error) {
	defer func() {
		if r := recover(); r != nil { // decoders have had faults
			preview, err = nil, fmt.Errorf("decode: %v", r)
		}
	}()
	p := newPicture(content)
	if p.broken {
		return nil, errTooLarge
	}
	img, _, err := image.Decode(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	w, h := p.size(maxPreviewColumns)
	preview = image.NewNRGBA(image.Rect(0, 0, w, 2*h))
	draw.ApproxBiLinear.Scale(preview, preview.Bounds(), img, img.Bounds(), draw.Src, nil)
	return preview, nil
}

// halfBlocks draws img in w × h cells: the upper half of each block is one pixel, and the
// cell's background the one below.
func halfBlocks(img *image.NRGBA, w, h int) []string {
	if size := image.Rect(0, 0, w, 2*h); size != img.Bounds() {
		scaled := image.NewNRGBA(size)
		draw.ApproxBiLinear.Scale(scaled, size, img, img.Bounds(), draw.Src, nil)
		img = scaled
	}
	lines := make([]string, h)
	for y := range lines {
		var line strings.Builder
		for x := range w {
			line.WriteString(halfBlock(img.NRGBAAt(x, 2*y), img.NRGBAAt(x, 2*y+1)))
		}
		lines[y] = line.String()
	}
	return lines
}

// halfBlock returns a cell with two pixels. Where one is transparent the terminal's
// background shows.
func halfBlock(upper, lower color.NRGBA) string {
	style := lipgloss.NewStyle()
	switch {
	case isClear(upper) && isClear(lower):
		return " "
	case isClear(upper):
		return style.Foreground(opaque(lower)).Render("▄")
	case isClear(lower):
		return style.Foreground(opaque(upper)).Render("▀")
	default:
		return style.Foreground(opaque(upper)).Background(opaque(lower)).Render("▀")
	}
}

func isClear(c color.NRGBA) bool { return c.A < 0x80 }

func opaque(c color.NRGBA) color.Color { return color.RGBA{c.R, c.G, c.B, 0xff} }

// imageFormats are the formats that every client of SimpleChat can be expected to show,
// as package image names them.
var imageFormats = []string{"png", "jpeg", "gif", "webp"}

// checkImage returns an error if content is not such an image.
func checkImage(content []byte) error {
	if p := newPicture(content); !slices.Contains(imageFormats, p.format) {
		return errors.New("it is not a PNG, JPEG, GIF or WebP image: convert it first")
	}
	return nil
}

// extension returns the end of a file's name for an image file.
func (p *picture) extension() string {
	switch p.format {
	case "":
		return "bin"
	case "jpeg":
		return "jpg"
	default:
		return p.format
	}
}
