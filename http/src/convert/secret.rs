//! `Secret`: by value or by reference, and never shown again once it is here (attack 31).

use kaon_kernel::cause::Cause;
use kaon_kernel::secret::{Secret, SecretReference};

use super::Error;
use crate::v1::mesos as v1;
use crate::v1::mesos::secret::Type;

/// The longest name or key of a secret in bytes: a path (`PATH_MAX`).
const NAME_BYTES_MAX: usize = 4096;

/// A secret from outside.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn from_v1(secret: &v1::Secret) -> Result<Secret, Error> {
    let wrong = |text: &str| Err(Error::Rule(Cause::SecretInvalid, text.to_owned()));
    let kind = secret.r#type.map(Type::try_from);
    match (kind, &secret.value, &secret.reference) {
        (Some(Ok(Type::Reference)), _, None) => wrong("Secret of type REFERENCE must have the 'reference' field set"),
        (Some(Ok(Type::Reference)), Some(_), Some(reference)) => {
            let text = "of type REFERENCE must not have the 'value' field set";
            Err(Error::Rule(Cause::SecretInvalid, format!("Secret '{}' {text}", reference.name)))
        }
        (Some(Ok(Type::Value)), None, _) => wrong("Secret of type VALUE must have the 'value' field set"),
        (Some(Ok(Type::Value)), Some(_), Some(_)) => {
            wrong("Secret of type VALUE must not have the 'reference' field set")
        }
        (_, None, Some(reference)) => named(reference),
        (_, Some(value), None) => Ok(Secret::Value(value.data.clone())),
        _ => wrong("Secret has neither 'value' nor 'reference' set, or both"),
    }
}

fn named(reference: &v1::secret::Reference) -> Result<Secret, Error> {
    let parts = || core::iter::once(&reference.name).chain(&reference.key);
    let is_bad = |part: &String| part.is_empty() || part.len() > NAME_BYTES_MAX || part.contains('\0');
    if parts().any(is_bad) {
        return Err(Error::Rule(
            Cause::SecretInvalid,
            "Secret reference has a name or key that is empty, too long, or holds a null byte".to_owned(),
        ));
    }
    Ok(Secret::Reference(SecretReference { name: reference.name.clone(), key: reference.key.clone() }))
}

/// As it is shown: that there is one, and its name where it has one; not what it says.
pub(super) fn shown(secret: &Secret) -> v1::Secret {
    match secret {
        Secret::Value(_) => v1::Secret { r#type: Some(Type::Value as i32), ..v1::Secret::default() },
        Secret::Reference(SecretReference { name, key }) => v1::Secret {
            r#type: Some(Type::Reference as i32),
            reference: Some(v1::secret::Reference { name: name.clone(), key: key.clone() }),
            value: None,
        },
    }
}

/// Takes what nobody may see out of a container that is kept for readers: the kernel has it.
pub(super) fn conceal(container: Option<&mut v1::ContainerInfo>) {
    let Some(container) = container else { return };
    let own = container.mesos.iter_mut().filter_map(|mesos| mesos.image.as_mut());
    let images = own.chain(container.volumes.iter_mut().filter_map(|volume| volume.image.as_mut()));
    for secret in images.filter_map(|image| image.docker.as_mut()?.config.as_mut()) {
        secret.value = None;
    }
    for secret in container.volumes.iter_mut().filter_map(|volume| volume.source.as_mut()?.secret.as_mut()) {
        secret.value = None;
    }
}
