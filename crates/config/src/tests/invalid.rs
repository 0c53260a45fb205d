//! One example for every rule: what is wrong is found at its line, with its key and its reason, and nothing else is.

use super::*;

/// A file, the line and the key of its only problem, and a part of the reason.
type Example<'a> = (&'a str, usize, &'a str, &'a str);

fn check(examples: &[Example]) {
    for (text, line, key, reason) in examples {
        let error = match Configuration::parse(text.as_bytes(), Format::Toml) {
            Ok(_) => panic!("this is taken:\n{text}"),
            Err(error) => error,
        };
        let [problem] = &error.problems[..] else {
            panic!("{text}\nhas not one problem: {error}");
        };
        assert_eq!(problem.position.unwrap().line, *line, "{text}\n{error}");
        assert_eq!(problem.key, *key, "{text}\n{error}");
        assert!(problem.reason.contains(reason), "{text}\n{error}");
        assert!(!problem.remedy.is_empty(), "{text}\n{error}");
    }
}

/// The same with a table of `customizations` before it.
fn check_in(header: &str, key: &str, examples: &[Example]) {
    for (text, line, name, reason) in examples {
        let text = format!("[{header}]\n{text}");
        let key = if name.is_empty() {
            key.to_owned()
        } else {
            format!("{key}.{name}")
        };
        check(&[(&text, line + 1, &key, reason)]);
    }
}

#[test]
fn keys_that_do_not_exist_and_values_of_wrong_kinds() {
    check(&[
        ("nme = 'a'", 1, "nme", "no key 'nme'"),
        ("[customization]", 1, "customization", "no key 'customization'"),
        (
            "[customizations.users]",
            1,
            "customizations.users",
            "no key 'users'",
        ),
        (
            "[customizations.disk]\nsize = 1",
            2,
            "customizations.disk.size",
            "no key",
        ),
        (
            "[[customizations.files]]\npath = '/etc/a'\nowner = 'a'",
            3,
            "customizations.files[0].owner",
            "no key",
        ),
        (
            "customizations = 7",
            1,
            "customizations",
            "an integer; the key takes a table",
        ),
        (
            "[customizations.user]\nname = 'a'",
            1,
            "customizations.user",
            "a table; the key takes an array of tables",
        ),
        (
            "[customizations]\nuser = ['a']",
            2,
            "customizations.user[0]",
            "a string; the key takes a table",
        ),
        (
            "[customizations]\nfips = 'yes'",
            2,
            "customizations.fips",
            "the key takes true or false",
        ),
        (
            "[customizations]\nhostname = 2026-01-01",
            2,
            "customizations.hostname",
            "a date or time",
        ),
        (
            "[customizations]\nhostname = 1.5",
            2,
            "customizations.hostname",
            "a number with a fraction",
        ),
        (
            "[customizations.services]\nenabled = 'a'",
            2,
            "customizations.services.enabled",
            "an array of strings",
        ),
        (
            "[customizations.services]\nenabled = ['a', 1]",
            2,
            "customizations.services.enabled[1]",
            "an integer",
        ),
        ("name = \"a\\u0000b\"", 1, "name", "control character '\\0'"),
        (
            "description = \"a\\nb\"",
            1,
            "description",
            "control character '\\n'",
        ),
    ]);
}

#[test]
fn keys_that_no_disk_can_have_say_where_they_belong() {
    for key in ["packages", "modules", "enabled_modules", "groups", "containers"] {
        let text = format!("\n{key} = []");
        check(&[(&text, 2, key, "belongs to the image")]);
    }
    for (key, reason) in [
        ("installer", "ISO images"),
        ("iso", "ISO images"),
        ("installation_device", "ISO images"),
        ("partitioning_mode", "layouts"),
        ("openscap", "belongs to the image"),
        ("fdo", "onboarding"),
        ("rhsm", "not registered"),
        ("rpm", "belongs to the image"),
        ("dnf", "belongs to the image"),
        ("containers-storage", "belongs to the image"),
        ("firstboot", "belongs to the image"),
        ("cacerts", "belongs to the image"),
        ("repositories", "belongs to the image"),
        ("bootloader", "boot menu"),
        ("ignition", "GRUB's menu"),
    ] {
        let path = format!("customizations.{key}");
        let text = format!("[customizations]\n{key} = {{ x = 1 }}");
        check(&[(&text, 2, &path, reason)]);
    }
    check(&[
        (
            "[customizations]\nfips = true",
            2,
            "customizations.fips",
            "FIPS mode needs more",
        ),
        (
            "[customizations.kernel]\nname = 'k'",
            2,
            "customizations.kernel.name",
            "belongs to the image",
        ),
    ]);
}

#[test]
fn accounts() {
    let key = "customizations.user[0]";
    check_in(
        "[customizations.user]",
        key,
        &[
            ("uid = 1000", 0, "", "the key 'name' is missing"),
            ("name = ''", 1, "name", "'' is no name"),
            ("name = '1a'", 1, "name", "'1a' is no name"),
            ("name = 'a b'", 1, "name", "'a b' is no name"),
            (
                "name = 'abcdefghijklmnopqrstuvwxyz0123456'",
                1,
                "name",
                "is no name",
            ),
            ("name = 'a'\nuid = -1", 2, "uid", "-1 is out of range"),
            ("name = 'a'\nuid = 4294967295", 2, "uid", "out of range"),
            ("name = 'a'\nuid = 65534", 2, "uid", "reserved"),
            ("name = 'a'\ngid = 65535", 2, "gid", "reserved"),
            ("name = 'root'\nuid = 1000", 2, "uid", "root has the uid 0"),
            ("name = 'a'\nuid = 0", 2, "uid", "would be root"),
            ("name = 'a'\ndescription = 'a:b'", 2, "description", "has a ':'"),
            (
                "name = 'a'\npassword = '$1$salt$hash'",
                2,
                "password",
                "of the kind '$1$'",
            ),
            (
                "name = 'a'\npassword = '$argon2id$v=19$x$y'",
                2,
                "password",
                "of the kind '$argon2id$'",
            ),
            ("name = 'a'\npassword = '$6$salt'", 2, "password", "but is none"),
            (
                "name = 'a'\npassword = '$6$sa:lt$hash'",
                2,
                "password",
                "but is none",
            ),
            ("name = 'a'\npassword = '!'", 2, "password", "locks an account"),
            (
                "name = 'a'\npassword = \"a\\nb\"",
                2,
                "password",
                "control character",
            ),
            ("name = 'a'\nkey = ''", 2, "key", "the key is empty"),
            (
                "name = 'a'\nkey = 'nonsense'",
                2,
                "key",
                "'nonsense' begins no public key",
            ),
            (
                "name = 'a'\nkey = '-----BEGIN OPENSSH PRIVATE KEY-----'",
                2,
                "key",
                "private key",
            ),
            ("name = 'a'\ngroups = ['a:b']", 2, "groups[0]", "'a:b' is no name"),
            ("name = 'a'\ngroups = ['b', 'b']", 2, "groups[1]", "there already"),
            ("name = 'a'\nhome = 'home/a'", 2, "home", "no absolute path"),
            (
                "name = 'a'\nhome = '/home/../a'",
                2,
                "home",
                "not the shortest form",
            ),
            ("name = 'a'\nshell = 'bash'", 2, "shell", "no absolute path"),
            ("name = 'a'\nshell = ''", 2, "shell", "the path is empty"),
            ("name = 'a'\nshell = '/bin/a:b'", 2, "shell", "has a ':'"),
            ("name = 'a'\nexpiredate = -5", 2, "expiredate", "out of range"),
            (
                "name = 'a'\nforce_password_reset = 1",
                2,
                "force_password_reset",
                "true or false",
            ),
        ],
    );
    check(&[
        (
            "[[customizations.user]]\nname = 'a'\n[[customizations.user]]\nname = 'a'",
            4,
            "customizations.user[1].name",
            "there already, in customizations.user[0]",
        ),
        (
            "[[customizations.group]]\nname = 'a'\n[[customizations.group]]\nname = 'a'",
            4,
            "customizations.group[1].name",
            "there already, in customizations.group[0]",
        ),
        (
            "[[customizations.group]]\nname = 'a'\ngid = 7\n[[customizations.group]]\nname = 'b'\ngid = 7",
            6,
            "customizations.group[1].gid",
            "the gid 7 is taken by customizations.group[0]",
        ),
        (
            "[[customizations.group]]\nname = '-a'",
            2,
            "customizations.group[0].name",
            "is no name",
        ),
        (
            "[[customizations.group]]\ngid = 7",
            1,
            "customizations.group[0]",
            "'name' is missing",
        ),
        (
            "[[customizations.group]]\nname = 'a'\ngid = 65534",
            3,
            "customizations.group[0].gid",
            "reserved",
        ),
        (
            "[[customizations.sshkey]]\nuser = 'a'",
            1,
            "customizations.sshkey[0]",
            "'key' is missing",
        ),
        (
            "[[customizations.sshkey]]\nkey = 'ssh-rsa AAAA'",
            1,
            "customizations.sshkey[0]",
            "'user' is missing",
        ),
        (
            "[[customizations.sshkey]]\nuser = 'a'\nkey = 'ssh-rsa AAAA'\n\
             [[customizations.sshkey]]\nuser = 'a'\nkey = 'ssh-rsa AAAA'",
            6,
            "customizations.sshkey[1].key",
            "there already",
        ),
    ]);
}

#[test]
fn file_systems() {
    check_in(
        "[customizations.filesystem]",
        "customizations.filesystem[0]",
        &[
            ("minsize = 1", 0, "", "'mountpoint' is missing"),
            ("mountpoint = '/'", 0, "", "'minsize' is missing"),
            ("mountpoint = '/'\nminsize = 0", 2, "minsize", "a size of 0"),
            ("mountpoint = '/'\nsize = 0", 2, "size", "a size of 0"),
            (
                "mountpoint = '/'\nminsize = 1\nsize = 1",
                3,
                "size",
                "another name of minsize",
            ),
            (
                "mountpoint = '/'\nminsize = -1",
                2,
                "minsize",
                "-1 bytes is no size",
            ),
            (
                "mountpoint = '/'\nminsize = 2000000000000000000",
                2,
                "minsize",
                "more than 1024 PiB",
            ),
            (
                "mountpoint = '/'\nminsize = '1 gib'",
                2,
                "minsize",
                "'gib' is no unit",
            ),
            (
                "mountpoint = '/'\nminsize = '-1 GiB'",
                2,
                "minsize",
                "does not start with a number",
            ),
            (
                "mountpoint = '/'\nminsize = 1.5",
                2,
                "minsize",
                "a number with a fraction",
            ),
            (
                "mountpoint = ''\nminsize = 1",
                1,
                "mountpoint",
                "the path is empty",
            ),
            (
                "mountpoint = 'var'\nminsize = 1",
                1,
                "mountpoint",
                "no absolute path",
            ),
            (
                "mountpoint = '/var/'\nminsize = 1",
                1,
                "mountpoint",
                "not the shortest form",
            ),
            (
                "mountpoint = '/var/../etc'\nminsize = 1",
                1,
                "mountpoint",
                "not the shortest form",
            ),
            (
                "mountpoint = '/etc'\nminsize = 1",
                1,
                "mountpoint",
                "nothing can be mounted at '/etc'",
            ),
            (
                "mountpoint = '/usr'\nminsize = 1",
                1,
                "mountpoint",
                "nothing can be mounted",
            ),
            (
                "mountpoint = '/home'\nminsize = 1",
                1,
                "mountpoint",
                "nothing can be mounted",
            ),
            (
                "mountpoint = '/boot/x'\nminsize = 1",
                1,
                "mountpoint",
                "nothing can be mounted",
            ),
            (
                "mountpoint = '/boot/efi'\nminsize = 1",
                1,
                "mountpoint",
                "there anyway",
            ),
            (
                "mountpoint = '/var/run/x'\nminsize = 1",
                1,
                "mountpoint",
                "a link into /run",
            ),
            (
                "mountpoint = '/var/a b'\nminsize = 1",
                1,
                "mountpoint",
                "has a blank",
            ),
        ],
    );
    check(&[
        (
            "[[customizations.filesystem]]\nmountpoint = '/'\nminsize = 1\n\
             [[customizations.filesystem]]\nmountpoint = '/'\nminsize = 1",
            5,
            "customizations.filesystem[1].mountpoint",
            "a mount point already, in customizations.filesystem[0].mountpoint",
        ),
        (
            "[customizations.disk]\n[[customizations.filesystem]]\nmountpoint = '/'\nminsize = 1",
            2,
            "customizations.filesystem",
            "cannot be used together",
        ),
    ]);
}

#[test]
fn disks() {
    check_in(
        "customizations.disk",
        "customizations.disk",
        &[
            ("type = 'dos'", 1, "type", "dos partition table is not made"),
            ("type = 'sun'", 1, "type", "no partition table 'sun'"),
            (
                "sector_size = 4096",
                1,
                "sector_size",
                "sectors of 4096 bytes are not made",
            ),
            ("sector_size = 1000", 1, "sector_size", "no power of two"),
            ("minsize = 0", 1, "minsize", "a size of 0"),
            ("start_offset = -1", 1, "start_offset", "-1 bytes is no size"),
            ("partitions = 1", 1, "partitions", "an array of tables"),
        ],
    );
    check_in(
        "[customizations.disk.partitions]",
        "customizations.disk.partitions[0]",
        &[
            ("mountpoint = '/'", 0, "", "'minsize' is missing"),
            ("minsize = 1", 0, "", "'mountpoint' is missing"),
            ("minsize = 0\nmountpoint = '/'", 1, "minsize", "a size of 0"),
            (
                "minsize = 1\ntype = 'lvm'\nname = 'vg'\nlogical_volumes = []",
                2,
                "type",
                "logical volumes are not made",
            ),
            (
                "minsize = 1\ntype = 'btrfs'\nsubvolumes = []",
                2,
                "type",
                "btrfs is not made",
            ),
            ("minsize = 1\ntype = 'luks'", 2, "type", "encryption is not made"),
            (
                "minsize = 1\ntype = 'zfs'",
                2,
                "type",
                "no partition of the type 'zfs'",
            ),
            (
                "minsize = 1\nmountpoint = '/'\nname = 'a'",
                3,
                "name",
                "of the type lvm",
            ),
            (
                "minsize = 1\nmountpoint = '/'\nlogical_volumes = []",
                3,
                "logical_volumes",
                "of the type lvm",
            ),
            (
                "minsize = 1\nmountpoint = '/'\nsubvolumes = []",
                3,
                "subvolumes",
                "of the type btrfs",
            ),
            (
                "minsize = 1\nmountpoint = '/'\nfs_type = 'xfs'",
                3,
                "fs_type",
                "xfs is not made",
            ),
            (
                "minsize = 1\nmountpoint = '/'\nfs_type = 'btrfs'",
                3,
                "fs_type",
                "btrfs is not made",
            ),
            (
                "minsize = 1\nmountpoint = '/'\nfs_type = 'ntfs'",
                3,
                "fs_type",
                "no file system 'ntfs'",
            ),
            (
                "minsize = 1\nmountpoint = '/'\nfs_type = 'vfat'",
                2,
                "mountpoint",
                "FAT does not keep",
            ),
            (
                "minsize = 1\nmountpoint = '/boot'\nfs_type = 'ext4'",
                2,
                "mountpoint",
                "read FAT only",
            ),
            (
                "minsize = 1\nmountpoint = '/boot/efi'\nfs_type = 'ext4'",
                2,
                "mountpoint",
                "read FAT only",
            ),
            (
                "minsize = 1\nmountpoint = '/var'\nfs_type = 'swap'",
                2,
                "mountpoint",
                "swap space is not mounted",
            ),
            (
                "minsize = 1\nmountpoint = '/var'\nfs_type = 'none'",
                2,
                "mountpoint",
                "without a file system",
            ),
            (
                "minsize = 1\nmountpoint = ''",
                2,
                "mountpoint",
                "the path is empty",
            ),
            (
                "minsize = 1\nmountpoint = 'var'",
                2,
                "mountpoint",
                "no absolute path",
            ),
            (
                "minsize = 1\nmountpoint = '/var//x'",
                2,
                "mountpoint",
                "not the shortest form",
            ),
            (
                "minsize = 1\nmountpoint = '/etc'",
                2,
                "mountpoint",
                "nothing can be mounted",
            ),
            (
                "minsize = 1\nmountpoint = '/usr/x'",
                2,
                "mountpoint",
                "nothing can be mounted",
            ),
            (
                "minsize = 1\nmountpoint = '/'\npart_type = '83'",
                3,
                "part_type",
                "'83' is no UUID",
            ),
            (
                "minsize = 1\nmountpoint = '/'\npart_uuid = 'x'",
                3,
                "part_uuid",
                "'x' is no UUID",
            ),
            (
                "minsize = 1\nmountpoint = '/'\npart_label = '1234567890123456789012345678901234567'",
                3,
                "part_label",
                "too long",
            ),
            (
                "minsize = 1\nmountpoint = '/'\nlabel = '12345678901234567'",
                3,
                "label",
                "too long for ext4",
            ),
            (
                "minsize = 1\nfs_type = 'swap'\nlabel = '1234567890123456'",
                3,
                "label",
                "too long for swap",
            ),
            (
                "minsize = 1\nmountpoint = '/boot/efi'\nlabel = '123456789012'",
                3,
                "label",
                "too long for FAT",
            ),
            (
                "minsize = 1\nmountpoint = '/boot/efi'\nlabel = 'a*'",
                3,
                "label",
                "no label of a FAT",
            ),
            (
                "minsize = 1\nfs_type = 'none'\nlabel = 'a'",
                3,
                "label",
                "has no label",
            ),
        ],
    );
    let partition = "[[customizations.disk.partitions]]\nminsize = 1\nmountpoint = ";
    let uuid = "part_uuid = '11111111-2222-3333-4444-55555555555";
    check(&[
        (
            &format!("{partition}'/var'\n{partition}'/var'"),
            6,
            "customizations.disk.partitions[1].mountpoint",
            "a mount point already",
        ),
        (
            &format!("{partition}'/var'\n{uuid}a'\n{partition}'/'\n{uuid}A'"),
            8,
            "customizations.disk.partitions[1].part_uuid",
            "customizations.disk.partitions[0] has the same UUID",
        ),
    ]);
}

#[test]
fn files_and_directories() {
    check_in(
        "[customizations.files]",
        "customizations.files[0]",
        &[
            ("data = ''", 0, "", "'path' is missing"),
            ("path = 'etc/a'", 1, "path", "no absolute path"),
            ("path = '/etc/a/'", 1, "path", "not the shortest form"),
            ("path = '/etc/./a'", 1, "path", "not the shortest form"),
            ("path = '/etc'", 1, "path", "no file can be made at '/etc'"),
            ("path = '/usr/bin/a'", 1, "path", "no file can be made"),
            ("path = '/var/a'", 1, "path", "no file can be made"),
            ("path = '/etcetera'", 1, "path", "no file can be made"),
            ("path = '/etc/fstab'", 1, "path", "cannot be written"),
            ("path = '/etc/passwd'", 1, "path", "cannot be written"),
            ("path = '/etc/shadow'", 1, "path", "cannot be written"),
            ("path = '/etc/group'", 1, "path", "cannot be written"),
            ("path = '/etc/gshadow'", 1, "path", "cannot be written"),
            (
                "path = '/etc/a'\ndata = ''\nuri = '/a'",
                3,
                "uri",
                "both data and uri",
            ),
            (
                "path = '/etc/a'\nuri = 'https://example.org/a'",
                2,
                "uri",
                "osmith downloads none",
            ),
            ("path = '/etc/a'\nuri = 'a'", 2, "uri", "no absolute path"),
            ("path = '/etc/a'\nmode = '0999'", 2, "mode", "no permissions"),
            ("path = '/etc/a'\nmode = '4755'", 2, "mode", "no permissions"),
            ("path = '/etc/a'\nmode = '+07'", 2, "mode", "no permissions"),
            ("path = '/etc/a'\nmode = 644", 2, "mode", "an integer"),
            ("path = '/etc/a'\nuser = -1", 2, "user", "out of range"),
            ("path = '/etc/a'\nuser = 'a b'", 2, "user", "is no name"),
            ("path = '/etc/a'\ngroup = 4294967295", 2, "group", "out of range"),
            ("path = '/etc/a'\ngroup = 'a:'", 2, "group", "is no name"),
            ("path = '/etc/a'\ngroup = true", 2, "group", "a name or a number"),
        ],
    );
    check_in(
        "[customizations.directories]",
        "customizations.directories[0]",
        &[
            ("mode = '755'", 0, "", "'path' is missing"),
            ("path = '/etc'", 1, "path", "no directory can be made"),
            ("path = '/root/a'", 1, "path", "no directory can be made"),
            ("path = '/var/lib/a'", 1, "path", "no directory can be made"),
            ("path = '/etc/a'\nmode = '75'", 2, "mode", "no permissions"),
            ("path = '/etc/a'\ndata = ''", 2, "data", "no key 'data'"),
        ],
    );
    check(&[
        (
            "[[customizations.files]]\npath = '/etc/a'\n[[customizations.files]]\npath = '/etc/a'",
            4,
            "customizations.files[1].path",
            "there already, in customizations.files[0].path",
        ),
        (
            "[[customizations.directories]]\npath = '/etc/a'\n[[customizations.files]]\npath = '/etc/a'",
            4,
            "customizations.files[0].path",
            "there already, in customizations.directories[0].path",
        ),
        (
            "[[customizations.files]]\npath = '/etc/a'\n[[customizations.directories]]\npath = '/etc/a/b'",
            4,
            "customizations.directories[0].path",
            "below '/etc/a', which is a file",
        ),
    ]);
}

#[test]
fn settings() {
    check(&[
        (
            "[customizations]\nhostname = ''",
            2,
            "customizations.hostname",
            "no host name",
        ),
        (
            "[customizations]\nhostname = 'a_b'",
            2,
            "customizations.hostname",
            "no host name",
        ),
        (
            "[customizations]\nhostname = 'a.'",
            2,
            "customizations.hostname",
            "no host name",
        ),
        (
            "[customizations.kernel]\nappend = 'a=\"b'",
            2,
            "customizations.kernel.append",
            "not closed",
        ),
        (
            "[customizations.kernel]\nappend = 'quiet root=/dev/sda'",
            2,
            "customizations.kernel.append",
            "osmith sets",
        ),
        (
            "[customizations.kernel]\nappend = 'composefs=0'",
            2,
            "customizations.kernel.append",
            "osmith sets",
        ),
    ]);
    check_in(
        "customizations.sshd",
        "customizations.sshd",
        &[
            (
                "permit_root_login = 'maybe'",
                1,
                "permit_root_login",
                "'maybe' is no answer",
            ),
            ("permit_root_login = true", 1, "permit_root_login", "a boolean"),
            (
                "client_alive_interval = -1",
                1,
                "client_alive_interval",
                "out of range",
            ),
            (
                "password_authentication = 'no'",
                1,
                "password_authentication",
                "a string",
            ),
        ],
    );
    check_in(
        "customizations.timezone",
        "customizations.timezone",
        &[
            ("timezone = ''", 1, "timezone", "no time zone"),
            ("timezone = '../x'", 1, "timezone", "no time zone"),
            ("timezone = '/Europe/Berlin'", 1, "timezone", "no time zone"),
            ("ntpservers = ['a b']", 1, "ntpservers[0]", "no name or address"),
        ],
    );
    check_in(
        "customizations.locale",
        "customizations.locale",
        &[
            ("languages = ['en US']", 1, "languages[0]", "no locale"),
            ("keyboard = 'u/s'", 1, "keyboard", "no keyboard"),
        ],
    );
    check_in(
        "customizations.services",
        "customizations.services",
        &[
            ("enabled = ['a b']", 1, "enabled[0]", "no name of a unit"),
            ("enabled = ['../a.service']", 1, "enabled[0]", "no name of a unit"),
            ("enabled = ['a', 'a.service']", 1, "enabled[1]", "there already"),
            (
                "enabled = ['a']\ndisabled = ['a']",
                2,
                "disabled[0]",
                "'a.service' is enabled, too",
            ),
            (
                "enabled = ['a']\nmasked = ['a']",
                2,
                "masked[0]",
                "'a.service' is enabled, too",
            ),
        ],
    );
    check_in(
        "customizations.firewall",
        "customizations.firewall",
        &[
            ("ports = ['80']", 1, "ports[0]", "'80' is no port"),
            ("ports = ['0:tcp']", 1, "ports[0]", "no port"),
            ("ports = ['90-80:tcp']", 1, "ports[0]", "no port"),
            ("ports = ['80:icmp']", 1, "ports[0]", "no port"),
            (
                "services.enabled = ['a b']",
                1,
                "services.enabled[0]",
                "no name of a service",
            ),
            (
                "services = { enabled = ['a'], disabled = ['a'] }",
                1,
                "services.disabled[0]",
                "is enabled, too",
            ),
            (
                "zones = [{ name = 'a/b', sources = [] }]",
                1,
                "zones[0].name",
                "no name of a zone",
            ),
            (
                "zones = [{ name = 'a', sources = ['10.0.0.0/33'] }]",
                1,
                "zones[0].sources[0]",
                "no address",
            ),
            ("zones = [{ name = 'a' }]", 1, "zones[0]", "'sources' is missing"),
            (
                "zones = [{ name = 'a', sources = [] }, { name = 'a', sources = [] }]",
                1,
                "zones[1].name",
                "there already",
            ),
        ],
    );
}
