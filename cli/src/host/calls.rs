//! The calls about single containers, between the edge that knows the API and the containers of the machine.

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use kaon_http::{ContainerCalls, Launched, Speaker, Unattached};
use kaon_isolators::containers::{self, AttachError, LaunchError, ProcessContainers, RemoveError};
use kaon_kernel::container::Exit;
use kaon_kernel::id::ContainerId;
use kaon_kernel::nested::{Order, Piece, Said};
use std::sync::Arc;

/// The containers of a machine, as the edge calls them.
pub(super) struct Calls(pub(super) Arc<ProcessContainers>);

impl ContainerCalls for Calls {
    fn launch(&self, order: Order) -> BoxFuture<'_, Launched> {
        // Who asked may go away in the middle: what was begun is finished all the same, so that nothing is left halfway.
        let containers = Arc::clone(&self.0);
        let launched = tokio::spawn(async move { containers.launch_nested(order).await });
        async move {
            match launched.await {
                Ok(Ok(())) => Launched::Yes,
                Ok(Err(LaunchError::Exists)) => Launched::Already,
                Ok(Err(error)) => Launched::No(error.to_string()),
                Err(error) => Launched::No(error.to_string()),
            }
        }
        .boxed()
    }

    fn wait(&self, container: ContainerId) -> BoxFuture<'_, Option<Exit>> {
        async move { self.0.wait_nested(&container).await }.boxed()
    }

    fn kill(&self, container: ContainerId, signal: i32) -> BoxFuture<'_, bool> {
        async move { self.0.signal(&container, signal).await }.boxed()
    }

    fn remove(&self, container: ContainerId) -> BoxFuture<'_, Result<(), String>> {
        async move {
            match self.0.remove_nested(&container).await {
                Ok(()) | Err(RemoveError::Unknown) => Ok(()),
                Err(error @ RemoveError::Runs) => Err(error.to_string()),
            }
        }
        .boxed()
    }

    fn listen(&self, container: ContainerId) -> BoxFuture<'_, Result<BoxStream<'static, Piece>, Unattached>> {
        async move {
            let listener = self.0.listen(&container).await.map_err(unattached)?;
            let pieces =
                stream::unfold(listener, |mut listener| async move { Some((listener.next().await?, listener)) });
            Ok(pieces.boxed())
        }
        .boxed()
    }

    fn speak(&self, container: ContainerId) -> BoxFuture<'_, Result<Box<dyn Speaker>, Unattached>> {
        async move {
            let speaker = self.0.speak(&container).await.map_err(unattached)?;
            Ok(Box::new(Voice(speaker)) as Box<dyn Speaker>)
        }
        .boxed()
    }

    fn nested(&self) -> Vec<ContainerId> {
        self.0.nested()
    }
}

struct Voice(containers::Speaker);

impl Speaker for Voice {
    fn say(&mut self, said: Said) -> BoxFuture<'_, bool> {
        async move { self.0.say(said).await.is_ok() }.boxed()
    }

    fn ended(&mut self) -> BoxFuture<'_, ()> {
        self.0.ended().boxed()
    }
}

fn unattached(error: AttachError) -> Unattached {
    let text = match &error {
        AttachError::Io(source) => format!("{error}: {source}"),
        _ => error.to_string(),
    };
    match error {
        AttachError::Unknown(_) => Unattached::Unknown(text),
        AttachError::Busy(_) => Unattached::Busy(text),
        AttachError::Deaf(_) | AttachError::Io(_) => Unattached::Failed(text),
    }
}
