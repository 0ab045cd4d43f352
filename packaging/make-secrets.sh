#!/bin/sh
# Makes random passwords for docker-compose.yml in the folder `secrets` of the current directory, unless it is there.
set -eu
mkdir -m 700 secrets
secret() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
database=$(secret)
orthanc=$(secret)
printf '%s' "$database" >secrets/database_password
printf 'postgres://qfae:%s@postgres:5432/qfae' "$database" >secrets/database_url
printf '%s' "$orthanc" >secrets/orthanc_password
printf '{ "RegisteredUsers": { "qfae": "%s" } }\n' "$orthanc" >secrets/orthanc_users.json
# Containers read them under user IDs of their own; the folder keeps other users of this machine out.
chmod 644 secrets/*
