//! `tasrih ca export`: the authority in the form that a kind of device takes, and the steps that install it there.
//!
//! In a rotation there are two authorities, and a device that takes one certificate a file gets two files. Keys are never
//! exported: this reads the certificate file only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use crate::tls::AuthorityFault;
use crate::tls::bundle::{Trusted, pem, trusted};

/// What is to trust the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Device {
    /// Windows: Edge, Chrome and what uses the system's store
    Windows,
    /// Debian and Ubuntu: curl, wget, git, apt and what uses OpenSSL or GnuTLS
    Debian,
    /// Firefox, by policy, on every system
    Firefox,
    /// Java: the store of a runtime
    Java,
    /// Python: requests, pip and the ssl module
    Python,
    /// Node.js
    Node,
}

/// Files that were written, and what is to be done with them.
pub(super) struct Export {
    pub(super) files: Vec<PathBuf>,
    pub(super) steps: Vec<String>,
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportFault {
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Writes into `out`, which is made where it is not there.
pub(super) fn export(device: Device, certificate: &Path, out: &Path) -> Result<Export, ExportFault> {
    let roots: Vec<Root> = trusted(certificate)?.into_iter().map(Root::of).collect();
    write(out, None)?;
    let mut files = Vec::new();
    for (name, bytes) in contents(device, &roots) {
        let path = out.join(name);
        write(&path, Some(&bytes))?;
        files.push(path);
    }
    let steps = steps(device, &roots, &files);
    Ok(Export { files, steps })
}

fn write(path: &Path, bytes: Option<&[u8]>) -> Result<(), ExportFault> {
    let written = bytes.map_or_else(|| fs::create_dir_all(path), |bytes| fs::write(path, bytes));
    written.map_err(|source| ExportFault::Write { path: path.to_owned(), source })
}

/// One authority, under a name that no other has.
struct Root {
    name: String,
    der: Vec<u8>,
}

impl Root {
    fn of(trusted: Trusted) -> Root {
        let digest: String = trusted.facts.sha256.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Root { name: format!("tasrih-ca-{digest}"), der: trusted.der }
    }
}

fn contents(device: Device, roots: &[Root]) -> Vec<(String, Vec<u8>)> {
    let each = |ending: &str, form: fn(&[u8]) -> Vec<u8>| -> Vec<(String, Vec<u8>)> {
        roots.iter().map(|root| (format!("{}.{ending}", root.name), form(&root.der))).collect()
    };
    let as_pem: fn(&[u8]) -> Vec<u8> = |der| pem(der).into_bytes();
    match device {
        Device::Windows => each("cer", <[u8]>::to_vec),
        // `update-ca-certificates` takes one certificate a file, whose name ends in crt.
        Device::Debian => each("crt", as_pem),
        Device::Java => each("pem", as_pem),
        Device::Firefox => {
            let mut files = each("pem", as_pem);
            files.push(("policies.json".to_owned(), firefox_policy(roots).into_bytes()));
            files
        }
        Device::Python | Device::Node => {
            let all: String = roots.iter().map(|root| pem(&root.der)).collect();
            vec![("tasrih-ca.pem".to_owned(), all.into_bytes())]
        }
    }
}

fn firefox_policy(roots: &[Root]) -> String {
    let install: Vec<String> = roots.iter().map(|root| format!("{}.pem", root.name)).collect();
    let policy = json!({"policies": {"Certificates": {"ImportEnterpriseRoots": true, "Install": install}}});
    format!("{policy:#}\n")
}

fn steps(device: Device, roots: &[Root], files: &[PathBuf]) -> Vec<String> {
    let each = |step: &dyn Fn(&Root, String) -> String| -> Vec<String> {
        roots.iter().zip(files).map(|(root, file)| step(root, file.display().to_string())).collect()
    };
    let first = files.first().map(|file| file.display().to_string()).unwrap_or_default();
    match device {
        Device::Windows => {
            let mut steps = each(&|_, file| format!("certutil -addstore -f ROOT \"{file}\""));
            steps.push(
                "or for a domain: Group Policy, Computer Configuration > Policies > Windows Settings > Security \
                 Settings > Public Key Policies > Trusted Root Certification Authorities > Import"
                    .to_owned(),
            );
            steps
        }
        Device::Debian => {
            let mut steps = each(&|_, file| format!("install -m 644 {file} /usr/local/share/ca-certificates/"));
            steps.push("update-ca-certificates".to_owned());
            steps
        }
        Device::Java => each(&|root, file| {
            format!("keytool -importcert -noprompt -trustcacerts -alias {} -file {file} -cacerts -storepass changeit", root.name)
        }),
        Device::Firefox => vec![
            "put the pem files into /usr/lib/mozilla/certificates, or %USERPROFILE%\\AppData\\Roaming\\Mozilla\\Certificates"
                .to_owned(),
            "put policies.json into /etc/firefox/policies, or the folder `distribution` of the program".to_owned(),
        ],
        Device::Python => vec![
            "on Debian, install it there first: then `export REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt \
             SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt`"
                .to_owned(),
            format!("where every host is intercepted: `export REQUESTS_CA_BUNDLE={first} SSL_CERT_FILE={first}`; it replaces all other roots"),
        ],
        Device::Node => vec![format!("export NODE_EXTRA_CA_CERTS={first}")],
    }
}
