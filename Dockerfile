# The image of couponrush: one binary on a Debian without a shell user, for `docker build` and `buildah build`.
#
#   docker build -t couponrush:0.1.0 .
#   docker run --read-only --env COUPONRUSH_JWT_SECRET_FILE=/run/secrets/jwt-secret ... couponrush:0.1.0
#
# compose.yaml runs it with all other parts.
FROM docker.io/library/rust:1-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends libprotobuf-dev protobuf-compiler \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# A test builds with another profile, which takes a third of the time.
ARG PROFILE=release
RUN cargo build --locked --bin couponrush --profile "$PROFILE" \
    && cp "target/$PROFILE/couponrush" /couponrush \
    && rm -rf target

FROM docker.io/library/debian:bookworm-slim
COPY --from=build /couponrush /usr/local/bin/couponrush
# The authorities that are trusted by default.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
ENV COUPONRUSH_HTTP_ADDR=0.0.0.0:20080 COUPONRUSH_OPS_ADDR=0.0.0.0:20081
EXPOSE 20080 20081
# The process answers. Stores that are away are no reason to restart it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/20081 && printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3 && grep -q '^HTTP/1.. 200' <&3"]
ENTRYPOINT ["/usr/local/bin/couponrush"]
CMD ["serve"]
