#!/bin/bash
#SBATCH --job-name=solve
#SBATCH --partition=gpuA100x4
#SBATCH --account=ab12-delta-gpu
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=00:30:00
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

hpcjob_mpi=/home/ada/jobs/.mpi/3fa85f6457174562
[[ -r $hpcjob_mpi ]] || hpcjob_stop 66 there is no /home/ada/jobs/.mpi/3fa85f6457174562
[[ -r /images/app.sif ]] || hpcjob_stop 66 there is no image /images/app.sif
# On all nodes: is all there that ranks need, and are the files of the host's MPI those that were planned?
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --mpi=none \
  bash "$hpcjob_mpi"/check /images/app.sif </dev/null || hpcjob_code=$?
case ${hpcjob_code:-} in 66 | 78) exit "$hpcjob_code" ;; esac

export APPTAINERENV_MPICH_OFI_NIC_POLICY=NUMA
export APPTAINERENV_LD_LIBRARY_PATH=/hpcjob/mpi/front:/opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3/lib:/hpcjob/mpi/tail
export APPTAINERENV_OMP_NUM_THREADS=16

# Do the ranks find each other? A small program of hpcjob's tells, started as the job's own will be.
. "$hpcjob_mpi"/judge
hpcjob_canary /home/ada/jobs/3f9c2a/canary 8 2 '*CRAY MPICH*8.1.27*' 'Cray MPICH 8.1.27' '' \
  srun --ntasks=8 --cpus-per-task=16 --cpu-bind=cores --mpi=cray_shasta --gpu-bind=closest \
    apptainer exec --nv --bind /projects --bind /work --bind /home/ada/jobs/.mpi/3fa85f6457174562:/hpcjob/mpi \
      --bind /opt/cray/libfabric/1.20/lib64 --bind /opt/cray/pe/lib64 --bind /opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3 \
      --bind /usr/lib64:/hpcjob/host/usr/lib64 --bind /home/ada/run --pwd /home/ada/run /images/app.sif \
    /hpcjob/mpi/canary

srun --ntasks=8 --cpus-per-task=16 --cpu-bind=cores --mpi=cray_shasta --gpu-bind=closest \
    apptainer exec --nv --bind /projects --bind /work --bind /home/ada/jobs/.mpi/3fa85f6457174562:/hpcjob/mpi \
      --bind /opt/cray/libfabric/1.20/lib64 --bind /opt/cray/pe/lib64 --bind /opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3 \
      --bind /usr/lib64:/hpcjob/host/usr/lib64 --bind /home/ada/run --pwd /home/ada/run /images/app.sif \
    ./solve in.nml || hpcjob_status=$?
