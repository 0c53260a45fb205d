#!/bin/bash
# Dracut module: mounts the root of a machine that osmith or bootc installed (kernel argument composefs=).
# shellcheck disable=SC2154 # dracut sets moddir, initdir, systemdsystemunitdir and SYSTEMCTL

check() {
    require_binaries /usr/lib/osmith/osmith-initrd || return 1
    # Only where the configuration of the image asks for it.
    return 255
}

depends() {
    echo systemd-initrd
}

installkernel() {
    # The last ones are for an installation medium: a disc, or a stick.
    instmods erofs overlay loop sr_mod cdrom usb_storage uas
}

install() {
    inst_simple /usr/lib/osmith/osmith-initrd
    inst_simple "$moddir/osmith-root-setup.service" "$systemdsystemunitdir/osmith-root-setup.service"
    $SYSTEMCTL -q --root "$initdir" add-wants initrd-root-fs.target osmith-root-setup.service
    inst_simple "$moddir/osmith-medium.service" "$systemdsystemunitdir/osmith-medium.service"
    $SYSTEMCTL -q --root "$initdir" add-wants initrd-root-fs.target osmith-medium.service
    inst_simple "$moddir/osmith-emergency-restart.timer" "$systemdsystemunitdir/osmith-emergency-restart.timer"
    $SYSTEMCTL -q --root "$initdir" add-wants emergency.target osmith-emergency-restart.timer
    # emergency.target asks for emergency.service, which only a larger module brings; without it nothing would start.
    if [[ ! -e $initdir$systemdsystemunitdir/emergency.service ]]; then
        inst_multiple sh reboot
        inst_simple "$moddir/osmith-emergency.service" "$systemdsystemunitdir/emergency.service"
    fi
    if [[ -e /usr/lib/composefs/setup-root-conf.toml ]]; then
        inst_simple /usr/lib/composefs/setup-root-conf.toml
    fi
}
