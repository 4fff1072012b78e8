//! Python expressions over the properties of a document.
