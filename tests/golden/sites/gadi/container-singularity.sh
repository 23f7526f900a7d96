#!/bin/bash
#PBS -N solve
#PBS -q normal
#PBS -P ab12
#PBS -l ncpus=192
#PBS -l mem=768000mb
#PBS -l walltime=00:30:00
#PBS -j oe
#PBS -o /dev/null
#PBS -l storage=gdata/ab12+scratch/ab12

set -euo pipefail
export HPCJOB_NATIVE_ID=$PBS_JOBID
hpcjob_start_file=/home/ada/jobs/3f9c2a/start
HPCJOB_RESTARTS=$(grep -c ^start= "$hpcjob_start_file" 2>/dev/null || true)
export HPCJOB_RESTARTS=${HPCJOB_RESTARTS:-0}
umask 0022 # PBS has 077

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

exec >/home/ada/jobs/3f9c2a/stdout.log 2>/home/ada/jobs/3f9c2a/stderr.log
# The server may keep no history: this tells that the job began, each time.
printf '%s\n' "id=$HPCJOB_NATIVE_ID" "start=$hpcjob_start" "host=$HOSTNAME" >>"$hpcjob_start_file"
cd /home/ada/run || hpcjob_stop 72 there is no folder /home/ada/run

set +u # the functions of module systems use variables that are not set
if ! type module >/dev/null 2>&1; then # what submitted was no bash, or nothing of it came along
  hpcjob_umask=$(umask)
  if [[ -r $MODULESHOME/init/bash ]]; then . "$MODULESHOME/init/bash"; else . /etc/profile; fi || true
  umask "$hpcjob_umask"
fi
type module >/dev/null 2>&1 || hpcjob_stop 69 bash knows no command module, which module_init of the site can define,
module load openmpi/4.1.7 singularity || hpcjob_stop 69 module load openmpi/4.1.7 singularity failed
set -u

# A copy of the node list, for containers on all nodes.
cp "$PBS_NODEFILE" /home/ada/jobs/3f9c2a/nodes
export PBS_NODEFILE=/home/ada/jobs/3f9c2a/nodes

# The launcher reaches other nodes over PBS itself where there is the tool for it: ssh may be closed between nodes.
hpcjob_exec=$(sed -n 's/^PBS_EXEC=//p' "${PBS_CONF_FILE:-/etc/pbs.conf}" 2>/dev/null || true)
if hpcjob_remote=$(PATH=$PATH:$hpcjob_exec/bin type -P pbs_tmrsh); then
  hpcjob_agent=/home/ada/jobs/3f9c2a/agent
  # As ssh has it: options, which are skipped, a host, and the words of a command for a shell.
  cat >"$hpcjob_agent" <<END
#!/bin/sh
while [ "\${1#-}" != "\$1" ]; do shift; done
host=\$1
shift
export PATH=$(printf %q "$PATH") LD_LIBRARY_PATH=$(printf %q "${LD_LIBRARY_PATH:-}")
exec $(printf %q "$hpcjob_remote") "\$host" /bin/sh -c "\$*"
END
  chmod 700 "$hpcjob_agent"
  export OMPI_MCA_plm_rsh_agent=$hpcjob_agent PRTE_MCA_plm_ssh_agent=$hpcjob_agent
  export HYDRA_LAUNCHER=ssh HYDRA_LAUNCHER_EXEC=$hpcjob_agent
fi
export OMPI_MCA_orte_default_hostfile=$PBS_NODEFILE PRTE_MCA_prte_default_hostfile=$PBS_NODEFILE
export HYDRA_HOST_FILE=$PBS_NODEFILE

hpcjob_mpi=/home/ada/jobs/.mpi/3fa85f6457174562
[[ -r $hpcjob_mpi ]] || hpcjob_stop 66 there is no /home/ada/jobs/.mpi/3fa85f6457174562
[[ -r /images/app.sif ]] || hpcjob_stop 66 there is no image /images/app.sif
# On all nodes: is all there that ranks need, and are the files of the host's MPI those that were planned?
mpirun -np 4 --map-by ppr:1:node:PE=1 --bind-to core bash "$hpcjob_mpi"/check /images/app.sif </dev/null || hpcjob_code=$?
case ${hpcjob_code:-} in 66 | 78) exit "$hpcjob_code" ;; esac

export SINGULARITYENV_OMPI_MCA_btl_vader_single_copy_mechanism=none
export SINGULARITYENV_OMPI_MCA_smsc='^cma'
export SINGULARITYENV_OPAL_PREFIX=/opt/openmpi-5.0.11
export SINGULARITYENV_PMIX_PREFIX=/opt/openmpi-5.0.11
export SINGULARITYENV_LD_LIBRARY_PATH=/hpcjob/mpi/front:/opt/openmpi-5.0.11/lib:/hpcjob/mpi/tail
export SINGULARITYENV_OMP_NUM_THREADS=1

# Do the ranks find each other? A small program of hpcjob's tells, started as the job's own will be.
. "$hpcjob_mpi"/judge
hpcjob_canary /home/ada/jobs/3f9c2a/canary 192 4 '*Open MPI*v5.0.11*' 'Open MPI 5.0.11' '' \
  mpirun -np 192 --map-by ppr:48:node:PE=1 --bind-to core \
    singularity exec --bind "$PBS_NODEFILE" --bind /half-root --bind /opt/pbs/default/lib --bind /home/ada/jobs/.mpi/3fa85f6457174562:/hpcjob/mpi \
      --bind /opt/openmpi-5.0.11 --bind /home/ada/run --pwd /home/ada/run /images/app.sif \
    /hpcjob/mpi/canary

mpirun -np 192 --map-by ppr:48:node:PE=1 --bind-to core \
    singularity exec --bind "$PBS_NODEFILE" --bind /half-root --bind /opt/pbs/default/lib --bind /home/ada/jobs/.mpi/3fa85f6457174562:/hpcjob/mpi \
      --bind /opt/openmpi-5.0.11 --bind /home/ada/run --pwd /home/ada/run /images/app.sif \
    ./solve in.nml || hpcjob_status=$?
