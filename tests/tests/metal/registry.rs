//! The image comes from a registry with a private authority and a password, and so do its updates.

use std::fs;

use osmith_stories::os::{IMAGE, containerfile, seen_by_machines};
use osmith_testing::certificates::Authority;
use osmith_testing::registry::{PASSWORD, Registry, RegistryOptions, USERNAME};
use osmith_testing::vm::Access;

use crate::lab::{MEMORY, Metal, WORKSHOP, bytes, is_blank, measured, text};

const OFFERED: &str = "This machine was not installed. There is a shell on the console:";

/// A registry that machines reach as `10.0.2.2`, and this computer as `127.0.0.1`.
fn registry(metal: &Metal) -> Option<(Registry, Authority)> {
    let folder = metal.laboratory.folder();
    let authority = Authority::new(folder, "authority");
    let hosts = ["127.0.0.1", "10.0.2.2"];
    let options = RegistryOptions {
        tls: Some(authority.sign(folder, "registry", &hosts)),
        password: true,
        ..RegistryOptions::default()
    };
    Some((Registry::start_with(&options)?, authority))
}

fn push(metal: &Metal, registry: &Registry, image: &str) {
    let passwords = metal.laboratory.folder().join("auth.json");
    fs::write(&passwords, credentials(registry.address())).expect("a file with the password");
    WORKSHOP.osmith(&format!(
        "push --tls-verify=false --authfile {} {image} {}/private/os:latest",
        passwords.display(),
        registry.address()
    ));
}

/// The password, as containers-auth.json(5) has it.
fn credentials(registry: &str) -> String {
    let encoded = base64(&format!("{USERNAME}:{PASSWORD}"));
    format!("{{\"auths\": {{\"{registry}\": {{\"auth\": \"{encoded}\"}}}}}}")
}

fn kickstart(metal: &Metal, registry: &str, authority: &Authority) -> String {
    let certificate = String::from_utf8(bytes(authority.certificate())).expect("PEM");
    let credentials = credentials(registry);
    format!(
        "ostreecontainer --url={registry}/private/os:latest\n\
         zerombr\nclearpart --all --initlabel\nreqpart\npart / --grow\n\
         network --device=link --bootproto=dhcp --hostname=private\n\
         rootpw --lock\n\
         {}\
         poweroff\n\
         %pre --erroronfail\n\
         mkdir -p /etc/ostree\n\
         echo '{credentials}' > /etc/ostree/auth.json\n\
         %end\n\
         %certificate --filename=story.crt --type=anchor\n\
         {certificate}\
         %end\n",
        metal.ssh_key("root")
    )
}

/// RFC 4648, section 4.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |chunk: &[u8]| {
        let number = chunk
            .iter()
            .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let number = number << (8 * (3 - chunk.len()));
        let digit = |place: usize| char::from(DIGITS[(number >> (18 - 6 * place)) as usize & 63]);
        (0..4)
            .map(|place| if place <= chunk.len() { digit(place) } else { '=' })
            .collect::<String>()
    };
    text.as_bytes().chunks(3).map(encode).collect()
}

#[test]
fn words_are_encoded_as_everywhere() {
    assert_eq!(base64("tester:secret"), "dGVzdGVyOnNlY3JldA==");
    assert_eq!(base64("user:word"), "dXNlcjp3b3Jk");
}

#[test]
#[ignore = "installs a machine and boots it twice: make test-long"]
fn long_an_image_comes_from_a_private_registry() {
    let metal = Metal::unpack();
    let Some((registry, authority)) = registry(&metal) else {
        return;
    };
    let address = seen_by_machines(registry.address());
    push(&metal, &registry, IMAGE);
    // At first a registry that is not there.
    metal
        .web
        .put("/ks.cfg", kickstart(&metal, "10.0.2.2:9", &authority));
    let media = metal.medium(&format!("--type iso --karg inst.ks={}", metal.url("/ks.cfg")));
    let iso = media.join("bootiso/install.iso");
    let options = ["--cdrom", text(&iso), MEMORY[0], MEMORY[1]];
    let booting = metal.laboratory.boot_with(Access::Console, &metal.disk, &options);
    let mut machine = booting.expect("a machine");
    machine.wait_for_console(OFFERED);
    let console = machine.console();
    assert!(
        console.contains("error: ") && console.contains("10.0.2.2:9"),
        "{console}"
    );
    assert!(is_blank(&metal.disk), "the disk was written to");

    metal.web.put("/ks.cfg", kickstart(&metal, &address, &authority));
    machine.type_line("osmith installer");
    machine.wait_for_console("Installed. The machine is switched off.");
    measured("installed at the second try", machine.seconds());
    machine.wait_until_off();

    let booting = metal.laboratory.boot_with(Access::Accounts, &metal.disk, &[]);
    let mut machine = booting.expect("a machine");
    machine.wait_for_ssh();
    measured("login", machine.seconds());
    machine.run("stat -c %a /etc/ostree/auth.json | grep -x 600");
    WORKSHOP.build("localhost/story:2", &containerfile("2", ""));
    push(&metal, &registry, "localhost/story:2");
    machine.run("osmith upgrade");
    machine.reboot();
    assert_eq!(machine.run("cat /usr/share/story"), "2");
    machine.shut_down();
}
