# QFAE node. The data folder is a volume; settings are a file or QFAE_… variables.
#   docker build -t qfae .
# For an NVIDIA GPU, on an image that holds the libraries of CUDA and cuDNN:
#   docker build -t qfae-cuda --build-arg BASE=nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04 --build-arg CUDA=12 .
ARG BASE=debian:bookworm-slim

FROM node:24-bookworm-slim AS build
ARG CUDA=
WORKDIR /opt/qfae
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev && npm cache clean --force
COPY LICENSE README.md ./
COPY dicom ./dicom
COPY inference ./inference
COPY training ./training
COPY plugin ./plugin
COPY fixtures ./fixtures
RUN if [ -n "$CUDA" ]; then node plugin/cli/qfae.ts gpu install --cuda "$CUDA" --no-trial; fi

FROM $BASE
ENV NODE_ENV=production \
    QFAE_DATA=/var/lib/qfae \
    QFAE_HTTP_HOST=0.0.0.0 \
    PATH=/opt/qfae/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /opt/qfae
COPY --from=build /opt/qfae ./
RUN useradd --system --uid 10001 --home-dir /var/lib/qfae qfae && install -d -o qfae -g qfae /var/lib/qfae
USER qfae
VOLUME /var/lib/qfae
EXPOSE 8780
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["node", "plugin/http/health-check.ts"]
CMD ["node", "plugin/cli/qfae.ts", "serve"]
