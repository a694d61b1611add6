# davit, built from the clone by the same script as on a host: docker build -t davit .
FROM debian:12-slim AS build
RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends bash ca-certificates >/dev/null
WORKDIR /src
COPY scripts/lib scripts/lib
# The dependencies first: they change seldom, and a layer of their own is kept.
RUN bash -c '. scripts/lib/setup.sh && need_build_tools'
COPY . .
RUN bash -c '. scripts/lib/setup.sh && build release davit' && strip -o /davit build/release/davit

FROM debian:12-slim
RUN apt-get -qq update \
 && apt-get -qq install -y --no-install-recommends ca-certificates openssl libarchive13 libboost-json1.81.0 libboost-url1.81.0 libexpat1 libpq5 libre2-9 libsimdjson14 \
      libsoci-core4.0 libsoci-postgresql4.0 libsoci-sqlite3-4.0 libspdlog1.10 libssl3 libxxhash0 libzstd1 >/dev/null \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 davit && useradd --uid 10001 --gid 10001 --home-dir /var/lib/davit --create-home --shell /usr/sbin/nologin davit \
 && install -d -o davit -g davit -m 0750 /var/lib/davit /etc/davit /etc/davit/fleet
COPY --from=build /davit /usr/local/bin/davit
COPY scripts/setup-fleet /usr/local/bin/davit-setup-fleet
COPY config/container.conf /etc/davit/davit.conf
# Not root. The host's socket is reached by its group: docker run --group-add "$(stat -c %g /var/run/docker.sock)".
USER 10001:10001
VOLUME /var/lib/davit
# HTTP API, the other agents, metrics.
EXPOSE 7300 7301 9464
ENV DAVIT_HOST=https://localhost:7300 DAVIT_CERT_PATH=/etc/davit/fleet
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["davit", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["davit"]
CMD ["agent", "--config-file=/etc/davit/davit.conf"]
