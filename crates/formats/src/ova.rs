//! OVF, the description of a virtual machine, and the manifest beside it.
//!
//! Source: DMTF DSP0243, "Open Virtualization Format", 1.1; the subtypes and keys of `vmw` are VMware's. The machine starts
//! by UEFI and has paravirtual devices, as every Linux since 2.6.33 knows them.
//!
//! Left out: several disks, properties, licences, certificates.

use crate::xml::escaped;
use std::fmt::Write as _;

const PROCESSORS: u32 = 2;
const MEMORY_MIB: u32 = 4096;
/// ESXi 6.7 update 2 and newer.
const HARDWARE: &str = "vmx-15";
const STREAM_OPTIMIZED: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";
const CIM: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2";
const RESOURCE_PROCESSOR: u32 = 3;
const RESOURCE_MEMORY: u32 = 4;
const RESOURCE_SCSI: u32 = 6;
const RESOURCE_ETHERNET: u32 = 10;
const RESOURCE_DISK: u32 = 17;
const SCSI_INSTANCE: u32 = 3;

/// Names and values.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// A virtual machine of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What it is called.
    pub name: String,
    /// The file of the disk.
    pub vmdk_name: String,
    /// The size of the disk.
    pub disk_bytes: u64,
}

impl Machine {
    /// The description, if the file of the disk has that length. All descriptions of a machine are equally long.
    pub fn to_xml(&self, vmdk_bytes: u64) -> Vec<u8> {
        let mut xml = self.xml(vmdk_bytes);
        let padding = self.len_bytes() as usize - xml.len();
        xml.push_str(&" ".repeat(padding));
        xml.into_bytes()
    }

    /// The length of all descriptions.
    pub fn len_bytes(&self) -> u64 {
        self.xml(u64::MAX).len() as u64
    }

    fn xml(&self, vmdk_bytes: u64) -> String {
        let (name, vmdk_name) = (escaped(&self.name), escaped(&self.vmdk_name));
        let disk_bytes = self.disk_bytes;
        let envelope = "http://schemas.dmtf.org/ovf/envelope/1";
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        // Writing into a text cannot fail.
        let _ = write!(
            xml,
            r#"<Envelope xmlns="{envelope}" xmlns:ovf="{envelope}" xmlns:rasd="{CIM}/CIM_ResourceAllocationSettingData" xmlns:vssd="{CIM}/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:id="file1" ovf:href="{vmdk_name}" ovf:size="{vmdk_bytes}"/>
  </References>
  <DiskSection>
    <Info>The disks of the machine</Info>
    <Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="{disk_bytes}" ovf:capacityAllocationUnits="byte" ovf:populatedSize="{vmdk_bytes}" ovf:format="{STREAM_OPTIMIZED}"/>
  </DiskSection>
  <NetworkSection>
    <Info>The networks of the machine</Info>
    <Network ovf:name="VM Network">
      <Description>The network that the machine is in</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{name}">
    <Info>The machine</Info>
    <Name>{name}</Name>
    <OperatingSystemSection ovf:id="101" vmw:osType="other26xLinux64Guest">
      <Info>The operating system: Linux, 64 bits</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>The hardware of the machine</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>{HARDWARE}</vssd:VirtualSystemType>
      </System>
"#
        );
        append_items(&mut xml);
        xml.push_str(
            r#"      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
      <vmw:Config ovf:required="false" vmw:key="bootOptions.efiSecureBootEnabled" vmw:value="false"/>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#,
        );
        xml
    }
}

/// The manifest of files with their SHA-256 digests.
pub fn manifest(files: &[(&str, [u8; 32])]) -> String {
    let lines = files
        .iter()
        .map(|(name, digest)| format!("SHA256({name})= {}\n", hex::encode(digest)));
    lines.collect()
}

/// Processors, memory, controller, disk, network. The fields of each are in the order of the alphabet: the schema wants
/// them so.
fn append_items(xml: &mut String) {
    let (processors, memory) = (PROCESSORS.to_string(), MEMORY_MIB.to_string());
    let scsi = SCSI_INSTANCE.to_string();
    let items: [(u32, u32, Fields<'_>); 5] = [
        (
            1,
            RESOURCE_PROCESSOR,
            &[
                ("AllocationUnits", "hertz * 10^6"),
                ("ElementName", "Processors"),
                ("VirtualQuantity", &processors),
            ],
        ),
        (
            2,
            RESOURCE_MEMORY,
            &[
                ("AllocationUnits", "byte * 2^20"),
                ("ElementName", "Memory"),
                ("VirtualQuantity", &memory),
            ],
        ),
        (
            SCSI_INSTANCE,
            RESOURCE_SCSI,
            &[
                ("Address", "0"),
                ("ElementName", "SCSI Controller 0"),
                ("ResourceSubType", "VirtualSCSI"),
            ],
        ),
        (
            4,
            RESOURCE_DISK,
            &[
                ("AddressOnParent", "0"),
                ("ElementName", "Hard Disk 1"),
                ("HostResource", "ovf:/disk/disk1"),
                ("Parent", &scsi),
            ],
        ),
        (
            5,
            RESOURCE_ETHERNET,
            &[
                ("AddressOnParent", "7"),
                ("AutomaticAllocation", "true"),
                ("Connection", "VM Network"),
                ("ElementName", "Network Adapter 1"),
                ("ResourceSubType", "VmxNet3"),
            ],
        ),
    ];
    for (instance, kind, fields) in items {
        let (instance, kind) = (instance.to_string(), kind.to_string());
        let mut fields = fields.to_vec();
        fields.extend([("InstanceID", instance.as_str()), ("ResourceType", &kind)]);
        fields.sort_unstable();
        xml.push_str("      <Item>\n");
        for (name, value) in fields {
            let _ = writeln!(xml, "        <rasd:{name}>{value}</rasd:{name}>");
        }
        xml.push_str("      </Item>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str) -> Machine {
        Machine {
            name: name.to_owned(),
            vmdk_name: "disk.vmdk".to_owned(),
            disk_bytes: 10 << 30,
        }
    }

    #[test]
    fn descriptions_are_equally_long() {
        let machine = machine("a <b> & \"c\"");
        for vmdk_bytes in [0, 1_234_567, u64::MAX] {
            let xml = machine.to_xml(vmdk_bytes);
            assert_eq!(xml.len() as u64, machine.len_bytes());
            let xml = String::from_utf8(xml).unwrap();
            assert!(xml.contains(&format!("ovf:size=\"{vmdk_bytes}\"")), "{xml}");
            assert!(
                xml.contains("<Name>a &lt;b&gt; &amp; &quot;c&quot;</Name>"),
                "{xml}"
            );
            assert!(xml.trim_end().ends_with("</Envelope>"), "{xml}");
        }
    }

    #[test]
    fn the_machine_starts_by_uefi_and_has_a_network() {
        let xml = String::from_utf8(machine("web").to_xml(5)).unwrap();
        for expected in [
            "ovf:capacity=\"10737418240\"",
            "<vssd:VirtualSystemType>vmx-15<",
            "vmw:key=\"firmware\" vmw:value=\"efi\"",
            "<rasd:ResourceSubType>VmxNet3<",
            "<rasd:ResourceSubType>VirtualSCSI<",
            "<rasd:HostResource>ovf:/disk/disk1<",
        ] {
            assert!(xml.contains(expected), "{expected}\n{xml}");
        }
    }

    #[test]
    fn a_manifest_has_a_line_a_file() {
        let text = manifest(&[("disk.ovf", [0; 32]), ("disk.vmdk", [0xab; 32])]);
        let expected = format!(
            "SHA256(disk.ovf)= {}\nSHA256(disk.vmdk)= {}\n",
            "00".repeat(32),
            "ab".repeat(32)
        );
        assert_eq!(text, expected);
    }
}
