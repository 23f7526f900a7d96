#!/bin/bash
# Installs Apptainer on Ubuntu, from its project's PPA. As root: a custom action of AWS ParallelCluster
# (OnNodeConfigured), or a component of `pcluster build-image`. Does nothing where it is there already.
#
# The package has the AppArmor profile without which Ubuntu 24.04 lets no program make user namespaces.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

if command -v apptainer >/dev/null; then
  exit 0
fi
if ! command -v add-apt-repository >/dev/null; then
  echo "install-apptainer.sh: there is no add-apt-repository: is this Ubuntu, with software-properties-common?" >&2
  exit 1
fi

# A mirror that many nodes ask at once may refuse some.
again() {
  local pause
  for pause in 5 20 60; do
    "$@" && return
    sleep "$pause"
  done
  "$@"
}

# A node that has just started may be busy with updates of its own.
get=(apt-get --quiet --yes -o DPkg::Lock::Timeout=300)
again add-apt-repository --yes --no-update ppa:apptainer/ppa
again "${get[@]}" update
again "${get[@]}" install apptainer
apptainer --version
