#!/bin/bash
#SBATCH --job-name=dashboard
#SBATCH --partition=gpu
#SBATCH --ntasks=1
#SBATCH --gpus-per-node=1
#SBATCH --chdir=/home/ada/run
#SBATCH --output=/home/ada/jobs/3f9c2a/stdout.log
#SBATCH --error=/home/ada/jobs/3f9c2a/stderr.log

set -euo pipefail
export HPCJOB_NATIVE_ID=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-}} HPCJOB_RESTARTS=${SLURM_RESTART_COUNT:-0}

# Whatever ends this script, it leaves its exit code, signal and times in the job's folder.
hpcjob_start=$(date +%s) hpcjob_signal=0 hpcjob_status=0
hpcjob_exit_file=/home/ada/jobs/3f9c2a/exit
hpcjob_end() {
  local code=$? temporary=${hpcjob_exit_file%/*}/.end.$HOSTNAME.$$
  ((hpcjob_status == 0)) || code=$hpcjob_status
  trap '' HUP INT USR1 USR2 TERM XCPU
  [[ -z ${hpcjob_app:-} ]] || kill "$hpcjob_app" 2>/dev/null || true
  rm -f /home/ada/jobs/3f9c2a/app || true
  unset LD_LIBRARY_PATH LD_PRELOAD
  PATH=/usr/bin:/bin
  (
    umask 077
    printf '%s\n' "code=$code" "signal=$hpcjob_signal" "start=$hpcjob_start" "end=$(date +%s)" \
      "host=$HOSTNAME" "id=${HPCJOB_NATIVE_ID:-}" "restarts=${HPCJOB_RESTARTS:-0}" \
      >"$temporary" && mv -f "$temporary" "$hpcjob_exit_file"
  ) || printf 'hpcjob: %s cannot be written\n' "$hpcjob_exit_file" >&2
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
rm -f "$hpcjob_exit_file" || true # of an earlier start, if this is a requeue

cd /home/ada/run || hpcjob_stop 72 there is no folder /home/ada/run

[[ -r /images/app.sif ]] || hpcjob_stop 66 there is no image /images/app.sif

export APPTAINERENV_OMP_NUM_THREADS=1

# A web application, its port, and its secret: in files that only their owner reads.
hpcjob_folder=/home/ada/jobs/3f9c2a
ulimit -c 0 # it may lose the files of its image when it is cancelled, and would leave a core
export HPCJOB_ADDRESS=0.0.0.0 HPCJOB_PORT=0 HPCJOB_TOKEN
until HPCJOB_PORT=$((20000 + RANDOM % 12000)) && ! (: <>"/dev/tcp/127.0.0.1/$HPCJOB_PORT") 2>/dev/null; do :; done
rm -f "$hpcjob_folder"/app "$hpcjob_folder"/idle
[[ -s $hpcjob_folder/token ]] || (umask 077 && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$hpcjob_folder"/token)
HPCJOB_TOKEN=$(<"$hpcjob_folder"/token)
hpcjob_watch() { # writes where the application is once it answers; ends it when nobody was connected for a while
  umask 077
  until (: <>"/dev/tcp/127.0.0.1/$HPCJOB_PORT") 2>/dev/null || (: <>"/dev/tcp/$HOSTNAME/$HPCJOB_PORT") 2>/dev/null; do
    sleep 0.5
  done
  printf 'host=%s\nport=%s\n' "$HOSTNAME" "$HPCJOB_PORT" >"$hpcjob_folder"/app.new
  mv "$hpcjob_folder"/app.new "$hpcjob_folder"/app
  seen=$SECONDS
  printf -v port %04X "$HPCJOB_PORT"
  while sleep 1; do # connections to the port, which the kernel writes in base 16 (proc(5), /proc/net/tcp)
    ! grep -Eqs ":$port [0-9A-F]+:[0-9A-F]{4} 01 " /proc/net/tcp /proc/net/tcp6 || seen=$SECONDS
    ((SECONDS - seen >= 3600)) || continue
    printf 'hpcjob: nobody was connected for %s s: ending\n' "$((SECONDS - seen))" >&2
    true >"$hpcjob_folder"/idle
    kill "$1"
    exit
  done
}

(
  trap - INT QUIT # which bash has what it starts beside itself ignore, and Jupyter its kernels
  exec srun --ntasks=1 --cpu-bind=cores \
    apptainer exec --nv --bind /home/ada/run --pwd /home/ada/run /images/app.sif \
    ./dashboard
) &
hpcjob_app=$!
hpcjob_watch "$hpcjob_app" &
wait "$hpcjob_app" || hpcjob_status=$?
kill "$!" 2>/dev/null || true
[[ ! -e "$hpcjob_folder"/idle ]] || hpcjob_status=0
