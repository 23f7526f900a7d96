#!/bin/bash
# A program of a container image as a command; written by hpcjob, which writes it anew when asked again.
[[ -r /images/app.sqfs ]] || {
  printf 'hpcjob: there is no image %s\n' /images/app.sqfs >&2
  exit 66
}
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
export USER="${USER:-$(id -un)}"
# What serves the image's files stays until the program has ended, which alone gets the signals.
trap 'hpcjob_caught=yes' INT QUIT # a terminal sends them to all; so does Jupyter
trap 'hpcjob_caught=HUP; pkill -HUP -P "$hpcjob_child"' HUP
trap 'hpcjob_caught=TERM; pkill -TERM -P "$hpcjob_child"' TERM
trap 'hpcjob_caught=USR1; pkill -USR1 -P "$hpcjob_child"' USR1
trap 'hpcjob_caught=USR2; pkill -USR2 -P "$hpcjob_child"' USR2
(
  trap - INT QUIT # which bash has what it starts beside itself ignore
  exec ch-run -b "$hpcjob_here:$hpcjob_here" -c "$hpcjob_here" --unset-env=LD_LIBRARY_PATH \
      --set-env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /images/app.sqfs -- \
    samtools "$@"
) <&0 &
hpcjob_child=$!
# A signal ends bash's wait, and not what it waits for; the answer that counts is one that no signal was near to.
until hpcjob_caught='' && wait "$hpcjob_child" || [[ ! $hpcjob_caught ]]; do :; done
wait "$hpcjob_child"
exit
