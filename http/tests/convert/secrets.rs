//! Secrets by value and by reference: what is taken, and that nobody is shown what they say.

use super::{FRAMEWORK, Form, api, changed, task};
use kaon_kernel::container_info::VolumeSource;
use kaon_kernel::secret::{Secret, SecretReference};
use kaon_kernel::task::TaskInfo;
use prost_reflect::prost::Message as _;

/// What of a container comes back: no value of a secret.
pub(super) fn conceal(container: &mut Option<api::ContainerInfo>) {
    let Some(container) = container else { return };
    let own = container.mesos.iter_mut().filter_map(|mesos| mesos.image.as_mut());
    for image in own.chain(container.volumes.iter_mut().filter_map(|volume| volume.image.as_mut())) {
        image.docker.iter_mut().flat_map(|docker| &mut docker.config).for_each(|secret| secret.value = None);
    }
    for source in container.volumes.iter_mut().filter_map(|volume| volume.source.as_mut()) {
        source.secret.iter_mut().for_each(|secret| secret.value = None);
    }
}

/// A secret of this type, with this name and value.
fn secret(kind: Option<i32>, name: Option<&str>, value: Option<&str>) -> api::Secret {
    api::Secret {
        r#type: kind,
        reference: name.map(|name| api::secret::Reference { name: name.to_owned(), key: Some("k".to_owned()) }),
        value: value.map(|value| api::secret::Value { data: value.as_bytes().to_vec() }),
    }
}

/// A task with it as a variable and as a file.
fn with(secret: &api::Secret) -> TaskInfo {
    let source = api::volume::Source { r#type: Some(3), secret: Some(secret.clone()), ..Default::default() };
    let volume = api::Volume { container_path: "key".to_owned(), mode: 2, source: Some(source), ..Default::default() };
    let docker = api::image::Docker { name: "app".to_owned(), config: Some(secret.clone()), ..Default::default() };
    let image = api::Image { r#type: 2, docker: Some(docker), ..Default::default() };
    let variable = api::environment::Variable {
        name: "KEY".to_owned(),
        r#type: Some(2),
        value: None,
        secret: Some(secret.clone()),
    };
    changed(|task| {
        let command = task.command.get_or_insert_default();
        command.environment = Some(api::Environment { variables: vec![variable] });
        let mut container = api::ContainerInfo { r#type: 2, volumes: vec![volume], ..Default::default() };
        if secret.value.is_some() {
            container.mesos = Some(api::container_info::MesosInfo { image: Some(image) });
        }
        task.container = Some(container);
    })
}

fn defect(kind: Option<i32>, name: Option<&str>, value: Option<&str>) -> Option<String> {
    with(&secret(kind, name, value)).defect.map(|defect| defect.words)
}

#[test]
fn values_and_names_are_taken_and_rules_kept() {
    for kind in [Some(1), None] {
        let task = with(&secret(kind, Some("db"), None));
        assert_eq!(task.defect, None);
        let reference = Secret::Reference(SecretReference { name: "db".to_owned(), key: Some("k".to_owned()) });
        assert_eq!(task.command.expect("one").secrets, [("KEY".to_owned(), reference.clone())]);
        assert_eq!(task.container.expect("one").volumes[0].source, VolumeSource::Secret(reference));
    }
    for (kind, name, value, words) in [
        (Some(1), None, None, "must have the 'reference' field set"),
        (Some(1), Some("n"), Some("v"), "must not have the 'value' field set"),
        (Some(2), Some("n"), Some("v"), "must not have the 'reference' field set"),
        (Some(2), None, None, "must have the 'value' field set"),
        (None, None, None, "neither 'value' nor 'reference'"),
        (Some(1), Some(""), None, "empty, too long"),
        (Some(1), Some("a\0"), None, "a null byte"),
    ] {
        let told = defect(kind, name, value).expect("refused");
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn what_a_secret_says_is_shown_to_nobody() {
    let task = with(&secret(Some(2), None, Some("s3cret")));
    assert_eq!(task.defect, None);
    let holds = |bytes: &[u8]| bytes.windows(6).any(|window| window == b"s3cret");
    let written = task::to_v1(&task, FRAMEWORK, Form::Plain).encode_to_vec();
    assert!(!holds(&written) && !format!("{task:?}").contains("s3cret"));
    // That there is one is.
    let shown = task::to_v1(&task, FRAMEWORK, Form::Plain).container.expect("one");
    assert!(shown.volumes[0].source.as_ref().is_some_and(|source| source.secret.is_some()));
    // Of one that breaks another rule nothing is shown either.
    let broken = with(&secret(Some(2), Some("n"), Some("s3cret")));
    assert!(broken.defect.is_some() && !holds(&task::to_v1(&broken, FRAMEWORK, Form::Plain).encode_to_vec()));
}
