//! Images for an installation, from where the Kickstart file says.

use osmith_image::registry::Settings;
use osmith_image::store::{Image, Store};
use osmith_installer::fetch::Access;
use osmith_installer::run::Images;
use osmith_machine::origin::ImageSource;
use osmith_report::{Failure, Observer};

use crate::commands::machine::Found;
use crate::commands::single_step;
use crate::registries;

/// Registries as a machine knows them, and what boot options add.
pub(super) struct MachineImages {
    access: Option<Access>,
}

impl MachineImages {
    /// As the system that runs is configured.
    pub(super) fn of_this_system() -> Self {
        MachineImages { access: None }
    }

    /// With the proxy and the certificates of boot options and of the Kickstart file.
    pub(super) fn with_access(access: Access) -> Self {
        MachineImages { access: Some(access) }
    }

    fn settings(&self) -> Result<Settings, Box<dyn Failure>> {
        let mut settings = registries::machine_settings()?;
        if let Some(access) = &self.access {
            if access.proxy.is_some() {
                settings.proxies = access.proxies();
            }
            settings.certificates.authorities.clone_from(&access.authorities);
        }
        Ok(settings)
    }
}

impl Images for MachineImages {
    fn fetch(
        &self,
        source: &ImageSource,
        store: &Store,
        observer: &dyn Observer,
    ) -> Result<Image, Box<dyn Failure>> {
        let found = Found::find_with(source, self.settings()?, observer)?;
        let title = format!("fetch {}", source.image);
        single_step(observer, title, |step| {
            let (image, _) = found.fetch(store, observer, step)?;
            Ok(image)
        })
    }
}
