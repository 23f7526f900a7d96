#!/bin/bash
# A program of a container image as a command; written by hpcjob, which writes it anew when asked again.
hpcjob_here=$PWD
case $PWD/ in
  /var/tmp/*) ;;
  // | /bin/* | /boot/* | /dev/* | /etc/* | /lib*/* | /opt/ | /proc/* | /run/ | /sbin/* | /sys/* | /usr/* | /var/*)
    hpcjob_here=/tmp # the image has a folder of that name itself
    printf 'hpcjob: %s of this machine is not shown in the container; starting in /tmp\n' "$PWD" >&2
    ;;
esac
if [[ $hpcjob_here == *[:,]* ]]; then
  printf 'hpcjob: a folder with a colon or comma in its name cannot be shown in the container: %s\n' "$PWD" >&2
  exit 72
fi
hpcjob_gpu=()
[[ ! -e /dev/nvidiactl ]] || hpcjob_gpu=(--device nvidia.com/gpu=all)
[[ ! -t 0 || ! -t 1 ]] || hpcjob_terminal=yes
hpcjob_podman() {
  local command=$1 name=hpcjob-$HOSTNAME-$BASHPID streams=passthrough code ended out watch
  shift 2
  # The environment of this process; but PATH is the image's own.
  local variable
  for variable in $(compgen -e); do
    [[ $variable == @(PATH|LD_LIBRARY_PATH) ]] || set -- "--env=$variable" "$@"
  done
  if [[ -t 0 || -t 1 || -t 2 ]]; then streams=none; fi
  if [[ -n ${PMI_FD:-} ]]; then exec 3<&"$PMI_FD"; PMI_FD=3; else exec 3</dev/null; fi
  # Whatever ends this process: one that is out of the job's reach sees to it that the container ends too.
  exec {watch}> >(
    cd /
    exec >/dev/null 2>&1 3>&-
    exec setsid --fork bash -c 'read -r && sleep 1 && ! "$1" container exists "$2" ||
      for _ in {1..9}; do "$1" stop --time 30 "$2" && break; sleep 1; done' hpcjob "$command" "$name"
  )
  trap '"$command" kill --signal=HUP "$name" >/dev/null 2>&1' HUP
  trap '"$command" kill --signal=USR1 "$name" >/dev/null 2>&1' USR1
  trap '"$command" kill --signal=USR2 "$name" >/dev/null 2>&1' USR2
  trap '[[ -z $watch ]] || exec {watch}>&-; watch=' TERM INT
  # Its end comes through a pipe: bash's wait may lose it when a signal is near.
  exec {out}>&1
  exec {ended}< <(
    exec {watch}>&-
    trap : HUP INT QUIT TERM USR1 USR2
    "$command" run --name "$name" --log-driver="$streams" --preserve-fds=1 "$@" <&0 >&"$out" {out}>&-
    echo "$?"
  )
  exec {out}>&-
  until read -r -u "$ended" code || (($? < 128)); do :; done
  trap '' TERM INT PIPE
  [[ -z $watch ]] || echo 1>&"$watch" 2>/dev/null
  exit "${code:-255}"
}
export -f hpcjob_podman
export MODE=fast
exec bash -c 'hpcjob_podman "$@"' hpcjob podman run --rm --interactive ${hpcjob_terminal:+--tty} --network=host \
      --pid=host --ipc=host --userns=keep-id "${hpcjob_gpu[@]}" -v "$hpcjob_here:$hpcjob_here" -w "$hpcjob_here" \
      --env=MODE --entrypoint= \
      docker.io/library/app@sha256:1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f \
    samtools "$@"
