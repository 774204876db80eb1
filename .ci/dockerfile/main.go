// Command dockerfile checks a Dockerfile as "docker build --check" does, with BuildKit's
// parser and rules, but without a daemon: it does not ask a registry about the images.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
)

// images answers for every image, instead of a registry.
type images struct{}

// ResolveImageConfig implements [llb.ImageMetaResolver].
func (images) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, "", []byte(`{"architecture":"amd64","os":"linux","config":{}}`), nil
}

func main() {
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "dockerfile:", err)
		os.Exit(1)
	}
}

// check prints the warnings about the Dockerfile at path. It fails if there are any, or if
// the file is no Dockerfile.
func check(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	source := llb.NewSourceMap(nil, path, "Dockerfile", text)
	source.Definition = &llb.Definition{} // DockerfileLint copies it into its results
	results, err := dockerfile2llb.DockerfileLint(context.Background(), text, dockerfile2llb.ConvertOpt{
		MetaResolver: images{},
		SourceMap:    source,
	})
	if err != nil {
		return err
	}
	if results.Error != nil {
		return fmt.Errorf("%s: %s", path, results.Error.Message)
	}
	if len(results.Warnings) == 0 {
		return nil
	}
	if err := results.PrintTo(os.Stdout, func(i *pb.SourceInfo) *pb.SourceInfo { return i }); err != nil {
		return err
	}
	return fmt.Errorf("%s has %d warnings", path, len(results.Warnings))
}
