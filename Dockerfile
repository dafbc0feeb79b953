# Tarae for people who are not on Linux: serves the folder mounted at /srv.
#
#   docker build -t tarae .
#   docker run --rm -p 8080:8080 -v "$PWD":/srv:ro tarae
#
# `cargo xtask soak` runs these commands on a copy of exactly the files named here.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates ./crates
COPY xtask ./xtask
RUN cargo build --release --locked -p tarae-cli

FROM debian:12.11-slim
COPY --from=build /src/target/release/tarae /usr/local/bin/tarae
USER nobody
EXPOSE 8080
ENTRYPOINT ["tarae", "serve", "/srv", "--listen", "0.0.0.0:8080"]
