package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/cmd/simplechat/internal/limit"
)

// The values of the label result.
const (
	resultOK      = "ok"
	resultRefused = "refused"
	resultError   = "error"
)

// metrics are a server's metrics for Prometheus. Clients cannot choose the value of a
// label. It is safe for concurrent use.
type metrics struct {
	registry *prometheus.Registry

	appends *prometheus.HistogramVec // by result
	commits prometheus.Histogram
	logins  *prometheus.CounterVec // by result
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		appends: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "simplechat_append_seconds",
			Help:    "Time to store a message, by result; the count is the number of sends.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12), // to 2.4 s
		}, []string{"result"}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "simplechat_commit_seconds",
			Help:    "Time of a transaction in --data with its sync.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "simplechat_authentications_total",
			Help: "Calls by the result of authentication: ok, refused, or error if it could not be checked.",
		}, []string{"result"}),
	}
	for _, result := range []string{resultOK, resultRefused, resultError} { // a rate needs an initial zero
		m.logins.WithLabelValues(result)
	}
	for _, result := range []string{resultOK, resultError} {
		m.appends.WithLabelValues(result)
	}
	m.registry.MustRegister(m.appends, m.commits, m.logins,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observeAppend counts a send that reached the log.
func (m *metrics) observeAppend(took time.Duration, err error) {
	result := resultOK
	if err != nil {
		result = resultError
	}
	m.appends.WithLabelValues(result).Observe(took.Seconds())
}

// authenticator counts the results of a.
func (m *metrics) authenticator(a chatsvc.Authenticator) chatsvc.Authenticator {
	ok, refused, failed := m.logins.WithLabelValues(resultOK), m.logins.WithLabelValues(resultRefused), m.logins.WithLabelValues(resultError)
	return chatsvc.AuthenticatorFunc(func(ctx context.Context, h http.Header) (chatsvc.User, error) {
		user, err := a.Authenticate(ctx, h)
		switch {
		case err == nil:
			ok.Inc()
		case errors.Is(err, chatsvc.ErrUnauthenticated):
			refused.Inc()
		default:
			failed.Inc()
		}
		return user, err
	})
}

// collectFrom adds the counts of the server's parts.
func (m *metrics) collectFrom(front *front, limits *limit.Limits) {
	m.registry.MustRegister(&limitCollector{limits}, &serviceCollector{front})
}

// desc returns the description of a metric that is computed at each scrape.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("simplechat_"+name, help, labels, nil)
}

var (
	connectionsDesc = desc("connections", "Connections that are open.")
	publicDesc      = desc("public_calls", "Calls to health and reflection under way.")
	refusedDesc     = desc("refused_total", "How often a limit was hit.", "limit")
)

// limitCollector collects the counts of the limits.
type limitCollector struct{ limits *limit.Limits }

// Describe implements [prometheus.Collector].
func (c *limitCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectionsDesc, publicDesc, refusedDesc} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *limitCollector) Collect(to chan<- prometheus.Metric) {
	stats := c.limits.Stats()
	to <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, float64(stats.Connections))
	to <- prometheus.MustNewConstMetric(publicDesc, prometheus.GaugeValue, float64(stats.PublicCalls))
	for kind, count := range stats.Refused {
		to <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(count), kind)
	}
}
