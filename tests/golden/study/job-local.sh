#!/bin/bash

set -euo pipefail

# Whatever ends this script, it leaves its exit code, signal and times in the study's folder.
hpcjob_start=$(date +%s) hpcjob_signal=0 hpcjob_status=0
hpcjob_study=/home/ada/jobs/drag hpcjob_claims=
read -r hpcjob_host </proc/sys/kernel/hostname # HOSTNAME may be the name of the node that submitted
export HPCJOB_TAG=3f9c2a7d41be HPCJOB_STUDY=s4
hpcjob_end() {
  local code=$? log
  ((hpcjob_status == 0)) || code=$hpcjob_status
  trap '' HUP INT USR1 USR2 TERM XCPU
  unset LD_LIBRARY_PATH LD_PRELOAD
  PATH=/usr/bin:/bin
  if [[ $hpcjob_claims ]]; then
    ((code != 0)) || [[ ! -e $hpcjob_claims/failed ]] || code=1
    rm -rf "$hpcjob_claims" || true
  fi
  (
    umask 077
    printf 't %s %s %s %s %s %s %s %s\n' "$HPCJOB_TAG" "$HPCJOB_ARRAY_INDEX" "$code" "$hpcjob_signal" \
      "$hpcjob_start" "$(date +%s)" "${HPCJOB_RESTARTS:-0}" "${HPCJOB_NATIVE_ID:--}" >>"$hpcjob_study/ends/$hpcjob_host"
  ) || printf 'hpcjob: %s cannot be written\n' "$hpcjob_study/ends/$hpcjob_host" >&2
  log=$(readlink "/proc/$$/fd"/1) || true # of thousands of tasks, most have nothing to say
  [[ $log != /home/ada/jobs/3f9c2a/* || -s $log ]] || rm -f "$log"
  exit "$code"
}
hpcjob_caught() {
  hpcjob_signal=$1
  exit $((128 + $1))
}
hpcjob_stop() {
  printf 'hpcjob: %s on node %s\n' "${*:2}" "$HOSTNAME" >&2
  exit "$1"
}
trap hpcjob_end EXIT
trap 'hpcjob_caught 1' HUP
trap 'hpcjob_caught 2' INT
trap 'hpcjob_caught 10' USR1
trap 'hpcjob_caught 12' USR2
trap 'hpcjob_caught 15' TERM
trap 'hpcjob_caught 24' XCPU

cd /home/ada/run || hpcjob_stop 72 there is no folder /home/ada/run

export OMP_NUM_THREADS=1

bash /home/ada/jobs/drag/point-1.sh /home/ada/jobs/drag/points-1.tsv "$((100 + HPCJOB_ARRAY_INDEX))" 1 || hpcjob_status=$?
