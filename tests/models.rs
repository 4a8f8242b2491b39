//! Models beside the default one: brought from folders and servers, refused where they are damaged, and stores that move
//! from one to another. The models are small and random; what they compute is compared with what they compute elsewhere.
mod add;
mod damage;
mod reembed;
mod server;
