//! `CommandInfo`, with its environment (reference 5.1 rule 7).

use kaon_kernel::cause::Cause;
use kaon_kernel::secret::Secret;
use kaon_kernel::task::{CommandInfo, Uri};

use super::{Error, rest_of, secret, with_rest};
use crate::v1::mesos as v1;
use crate::v1::mesos::environment::variable::Type;

/// A command from outside, and the first rule that it breaks.
pub fn from_v1(mut command: v1::CommandInfo) -> (CommandInfo, Result<(), Error>) {
    let verdict = judge(&command);
    let (mut environment, mut secrets) = (Vec::new(), Vec::new());
    if let Some(given) = &mut command.environment
        && verdict.is_ok()
    {
        let taken = core::mem::take(&mut given.variables);
        if !taken.is_empty() {
            command.environment = None;
        }
        for variable in taken {
            // What is no secret was refused.
            match variable.secret.as_ref().map(secret::from_v1) {
                Some(Ok(secret)) => secrets.push((variable.name, secret)),
                _ => environment.push((variable.name, variable.value.unwrap_or_default())),
            }
        }
    } else if verdict.is_err() {
        // A command that is refused is shown as it came, but for what nobody may see.
        for variable in command.environment.iter_mut().flat_map(|environment| &mut environment.variables) {
            variable.secret = None;
        }
    }
    let typed = CommandInfo {
        shell: command.shell.take().unwrap_or(true),
        value: command.value.take(),
        arguments: core::mem::take(&mut command.arguments),
        environment,
        secrets,
        user: command.user.take(),
        uris: core::mem::take(&mut command.uris).into_iter().map(uri).collect(),
        rest: rest_of(&command),
    };
    (typed, verdict)
}

fn uri(uri: v1::command_info::Uri) -> Uri {
    Uri {
        executable: uri.executable.unwrap_or(false),
        extract: uri.extract.unwrap_or(true),
        cache: uri.cache.unwrap_or(false),
        output_file: uri.output_file,
        value: uri.value,
    }
}

fn uri_to_v1(uri: &Uri) -> v1::command_info::Uri {
    v1::command_info::Uri {
        value: uri.value.clone(),
        executable: uri.executable.then_some(true),
        extract: Some(uri.extract),
        cache: uri.cache.then_some(true),
        output_file: uri.output_file.clone(),
    }
}

fn judge(command: &v1::CommandInfo) -> Result<(), Error> {
    for variable in command.environment.iter().flat_map(|environment| &environment.variables) {
        let wrong = |reason: &str| {
            Err(Error::Rule(Cause::CommandInvalid, format!("Environment variable '{}' {reason}", variable.name)))
        };
        match variable.r#type.map_or(Ok(Type::Value), Type::try_from) {
            Ok(Type::Value) if variable.secret.is_some() => return wrong("of type 'VALUE' must not have a secret set"),
            Ok(Type::Value) if variable.value.is_none() => return wrong("of type 'VALUE' must have a value set"),
            Ok(Type::Value) => {}
            Ok(Type::Secret) if variable.secret.is_none() => return wrong("of type 'SECRET' must have a secret set"),
            Ok(Type::Secret) if variable.value.is_some() => return wrong("of type 'SECRET' must not have a value set"),
            Ok(Type::Secret) => match variable.secret.as_ref().map(secret::from_v1).transpose()? {
                Some(Secret::Value(plain)) if plain.contains(&0) => {
                    let text = "specifies a secret containing null bytes, which is not allowed in the environment";
                    return wrong(text);
                }
                Some(Secret::Value(plain)) if core::str::from_utf8(&plain).is_err() => {
                    return wrong("specifies a secret that is no text");
                }
                _ => {}
            },
            Ok(Type::Unknown) | Err(_) => return wrong("of type 'UNKNOWN' is not allowed"),
        }
        let text = [Some(&variable.name), variable.value.as_ref()];
        if variable.name.is_empty() || variable.name.contains('=') {
            return wrong("has a name that no environment can hold");
        }
        if text.into_iter().flatten().any(|text| text.contains('\0')) {
            return wrong("contains a null byte, which is not allowed in the environment");
        }
    }
    let uris = command.uris.iter().flat_map(|uri| [Some(&uri.value), uri.output_file.as_ref()]).flatten();
    let texts = command.value.iter().chain(&command.arguments).chain(&command.user).chain(uris);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err(Error::Rule(Cause::CommandInvalid, "CommandInfo contains a null byte".to_owned()));
    }
    Ok(())
}

/// The v1 form.
pub fn to_v1(command: &CommandInfo) -> v1::CommandInfo {
    let mut out: v1::CommandInfo = with_rest(&command.rest);
    out.shell = Some(command.shell);
    out.value = command.value.clone();
    out.arguments = command.arguments.clone();
    out.user = command.user.clone();
    out.uris = command.uris.iter().map(uri_to_v1).collect();
    if !command.environment.is_empty() || !command.secrets.is_empty() {
        let secrets = command.secrets.iter().map(|(name, secret)| v1::environment::Variable {
            name: name.clone(),
            r#type: Some(Type::Secret as i32),
            value: None,
            secret: Some(secret::shown(secret)),
        });
        let variables = command.environment.iter().map(|(name, value)| v1::environment::Variable {
            name: name.clone(),
            r#type: Some(Type::Value as i32),
            value: Some(value.clone()),
            secret: None,
        });
        out.environment = Some(v1::Environment { variables: variables.chain(secrets).collect() });
    }
    out
}
