package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/otelconnect"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"

	"example.com/simplechat/cmd/internal/cli"
)

// traceEndTime bounds the time for sending the last traces.
const traceEndTime = 2 * time.Second

// tracing returns an interceptor that traces calls, and a function that ends it. The
// interceptor is nil if the environment names no endpoint; then tracing costs nothing. The
// variables are those of OpenTelemetry: endpoint, headers, certificate, sampler, name of
// the service.
func tracing(ctx context.Context, logger *slog.Logger) (connect.Interceptor, func(), error) {
	if !isTraced() {
		return nil, func() {}, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := os.Getenv(name); protocol != "" && protocol != "http/protobuf" {
			return nil, nil, fmt.Errorf("%s=%s: this server supports only http/protobuf: set that, and use the collector's port for it (4318)", name, protocol)
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("tracing: %w", err)
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "simplechat"), attribute.String("service.version", cli.Version())), resource.WithFromEnv()) // the later attribute wins
	if err != nil {
		return nil, nil, fmt.Errorf("tracing: %w", err)
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(about))
	interceptor, err := otelconnect.NewInterceptor(
		otelconnect.WithTracerProvider(provider),
		otelconnect.WithoutMetrics(), // Prometheus has the metrics
	)
	if err != nil {
		return nil, nil, fmt.Errorf("tracing: %w", err)
	}
	return interceptor, func() {
		ctx, cancel := context.WithTimeout(context.Background(), traceEndTime)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			logger.Warn("the last traces could not be sent", "error", err)
		}
	}, nil
}

// isTraced reports whether the environment names an endpoint for traces.
func isTraced() bool {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}
