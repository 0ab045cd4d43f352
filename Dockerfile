# QFAE node, CPU. The data folder is a volume; settings are a file or QFAE_… variables.
FROM node:24-bookworm-slim AS dependencies
WORKDIR /opt/qfae
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev && npm cache clean --force

FROM node:24-bookworm-slim
ENV NODE_ENV=production \
    QFAE_DATA=/var/lib/qfae \
    QFAE_HTTP_HOST=0.0.0.0
WORKDIR /opt/qfae
COPY --from=dependencies /opt/qfae/node_modules ./node_modules
COPY package.json LICENSE README.md ./
COPY dicom ./dicom
COPY inference ./inference
COPY training ./training
COPY plugin ./plugin
COPY fixtures ./fixtures
RUN install -d -o node -g node /var/lib/qfae
USER node
VOLUME /var/lib/qfae
EXPOSE 8780
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["node", "plugin/http/health-check.ts"]
CMD ["node", "plugin/cli/qfae.ts", "serve"]
