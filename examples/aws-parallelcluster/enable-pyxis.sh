#!/bin/bash
# Switches on Enroot and Pyxis, which the official images of AWS ParallelCluster 3.11.1 and later have. As root, a
# custom action: OnNodeConfigured on the head node, OnNodeStart on compute nodes (before slurmd begins).
set -euo pipefail

# shellcheck source=/dev/null
. /etc/parallelcluster/cfnconfig
examples=/opt/parallelcluster/examples
slurm=/opt/slurm

if [[ ! -r $examples/pyxis/pyxis.conf ]]; then
  echo "enable-pyxis.sh: there is no $examples/pyxis/pyxis.conf: the image is older than 3.11.1, or custom and" \
    "built without NvidiaSoftware" >&2
  exit 1
fi

# The folders that the examples name; those in /run are gone after a reboot.
cat >/etc/tmpfiles.d/pyxis.conf <<'CONF'
d /run/enroot 1777 root root
d /run/pyxis 1777 root root
d /var/enroot 1777 root root
CONF
systemd-tmpfiles --create /etc/tmpfiles.d/pyxis.conf
install -D -m 0644 "$examples/enroot/enroot.conf" /etc/enroot/enroot.conf

if [[ ${cfn_node_type:?} == HeadNode ]]; then
  # Compute nodes see this folder.
  install -D -m 0644 "$examples/pyxis/pyxis.conf" "$slurm/etc/plugstack.conf.d/pyxis.conf"
  install -m 0644 "$examples/spank/plugstack.conf" "$slurm/etc/plugstack.conf"
  "$slurm/bin/scontrol" reconfigure
elif [[ -e /proc/sys/kernel/apparmor_restrict_unprivileged_userns ]]; then
  # Ubuntu 24.04: only programs with an AppArmor profile may make user namespaces, and Enroot has none.
  echo 'kernel.apparmor_restrict_unprivileged_userns = 0' >/etc/sysctl.d/99-enroot.conf
  sysctl --load=/etc/sysctl.d/99-enroot.conf
fi
