# Hermes in a container, from the package of `make deb` in dist/. The guide: docs/guide/container.md
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN --mount=type=bind,source=dist,target=/dist \
    apt-get update && apt-get install --yes --no-install-recommends /dist/hermes-gateway_*.deb && rm -rf /var/lib/apt/lists/*
RUN install -d -o hermes -g hermes -m 700 /var/lib/hermes
ENV HERMES_HOST=0.0.0.0 \
    HERMES_JWT_SECRET_FILE=/run/secrets/jwt-secret \
    HERMES_API_KEY_FILE=/run/secrets/api-keys \
    STATE_DIRECTORY=/var/lib/hermes
USER hermes
VOLUME /var/lib/hermes
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["hermes", "status", "--quiet"]
ENTRYPOINT ["hermes"]
CMD ["serve"]
