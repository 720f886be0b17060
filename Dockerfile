# The image of one part: docker build --build-arg SERVICE=gateway --tag warren/gateway .
# SERVICE is a folder of services/, or cli: the command, which also makes the credentials of a deployed mesh.
# Where the registry cannot be reached, base images are named by argument: --build-arg NODE_IMAGE=my.registry/node:24.
ARG NODE_IMAGE=node:24-bookworm-slim

# The manifests alone, so that a change of code does not install the packages again.
FROM ${NODE_IMAGE} AS manifests
COPY . /src
RUN mkdir /manifests && cd /src && cp package-lock.json /manifests && \
  find . -name package.json -not -path '*/node_modules/*' | tar -cf - -T - | tar -xf - -C /manifests

FROM ${NODE_IMAGE} AS packages
ARG SERVICE
WORKDIR /app
COPY --from=manifests /manifests ./
RUN case "$SERVICE" in \
  cli) workspace=cli ;; \
  gateway | auth | agent | plugin-host | secrets) workspace="services/$SERVICE" ;; \
  *) echo "SERVICE must be gateway, auth, agent, plugin-host, secrets or cli" >&2; exit 1 ;; \
  esac && \
  npm ci --omit=dev --no-audit --no-fund --workspace "$workspace" && \
  ln -s "$workspace" service

# The service, the workspaces that it needs and no other: node_modules links to them.
FROM packages AS tree
ARG SERVICE
COPY --from=manifests /src /src
RUN mkdir /out && cp -a node_modules package.json service /out && \
  for link in node_modules/@warren/*; do \
  folder="$(realpath --relative-to=. "$link")" && mkdir -p "/out/$folder" && cp -a "/src/$folder/." "/out/$folder" && \
  if [ -d "$folder/node_modules" ]; then cp -a "$folder/node_modules" "/out/$folder"; fi; \
  done && \
  if [ "$SERVICE" = cli ]; then cp -a /src/plugins /out; fi && \
  chmod -R go-w,a+rX /out

FROM ${NODE_IMAGE}
ARG SERVICE
LABEL org.opencontainers.image.title="warren-${SERVICE}" org.opencontainers.image.licenses="Apache-2.0"
# tini reaps what plugins leave behind. A plugin host needs the sandbox, Python for plugins, and npm to install MCP servers;
# no other image keeps a package manager for Node.js.
RUN missing="" && need() { command -v "$1" >/dev/null || missing="$missing $2"; } && \
  need tini tini && \
  if [ "$SERVICE" = plugin-host ]; then need bwrap bubblewrap; need python3 python3-minimal; need prlimit util-linux; fi && \
  if [ -n "$missing" ]; then \
  apt-get update && apt-get install --yes --no-install-recommends $missing && rm -rf /var/lib/apt/lists/*; \
  fi && \
  if [ "$SERVICE" != plugin-host ]; then \
  rm -rf /usr/local/lib/node_modules /opt/yarn* /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/yarn /usr/local/bin/yarnpkg /usr/local/bin/corepack; \
  fi && \
  echo 'warren:x:10001:10001:Warren:/tmp:/usr/sbin/nologin' >> /etc/passwd && echo 'warren:x:10001:' >> /etc/group && \
  install -d -o 10001 -g 10001 -m 0700 /run/warren /var/lib/warren /var/lib/warren/plugins
COPY --from=tree /out /app
WORKDIR /app
ENV NODE_ENV=production WARREN_METRICS_HOST=0.0.0.0 WARREN_METRICS_PORT=9464 WARREN_DATA_DIR=/var/lib/warren
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=6 \
  CMD ["node", "/app/packages/service/src/probe.ts", "ready", "9464"]
ENTRYPOINT ["tini", "--", "node", "/app/service/src/main.ts"]
