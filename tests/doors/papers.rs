//! Certificates, keys and a list of revoked ones, made by openssl.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tasrih::config::{ClientCertificates, ListenerTls};

/// A folder of papers.
pub struct Papers(tempfile::TempDir);

const KEY: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

impl Papers {
    /// The proxy's own certificate (`proxy`), the authority of clients (`clients`), three of its clients (`uploader`,
    /// `revoked`, `other`), one of another authority that claims to be the uploader (`forged`), and the list of revoked ones.
    pub fn new() -> Papers {
        let papers = Papers(tempfile::tempdir().expect("a folder"));
        for authority in ["roots", "clients", "forgers"] {
            papers.authority(authority);
        }
        papers.issue("proxy", "roots", "IP:127.0.0.1", "serverAuth");
        papers.issue("uploader", "clients", "DNS:Cctv-Uploader.visa-centre.example", "clientAuth");
        papers.issue("revoked", "clients", "DNS:cctv-uploader.visa-centre.example", "clientAuth");
        papers.issue("other", "clients", "DNS:other.visa-centre.example", "clientAuth");
        papers.issue("forged", "forgers", "DNS:cctv-uploader.visa-centre.example", "clientAuth");
        papers.revoke("revoked");
        papers
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The proxy's TLS, asking for clients' certificates in this way.
    pub fn tls(&self, client_certificates: ClientCertificates) -> ListenerTls {
        ListenerTls {
            certificate: self.path("proxy.pem"),
            key: self.path("proxy.key"),
            client_ca: Some(self.path("clients.pem")),
            client_certificates,
            crl: Some(self.path("clients.crl")),
        }
    }

    fn authority(&self, name: &str) {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        let rest = ["-x509", "-days", "365", "-keyout", &key, "-out", &certificate, "-subj", &subject];
        self.openssl(&[&["req"], KEY, &rest].concat());
    }

    /// Makes a key and a certificate for it.
    pub fn issue(&self, name: &str, authority: &str, names: &str, usage: &str) {
        let file = |ending: &str| format!("{name}.{ending}");
        let (key, request, certificate, extensions) = (file("key"), file("csr"), file("pem"), file("ext"));
        let subject = format!("/CN={name}");
        self.openssl(&[&["req"], KEY, &["-keyout", &key, "-out", &request, "-subj", &subject]].concat());
        fs::write(self.path(&extensions), format!("subjectAltName={names}\nextendedKeyUsage={usage}\n"))
            .expect("written");
        let (ca, ca_key) = (format!("{authority}.pem"), format!("{authority}.key"));
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-days",
            "90",
            "-extfile",
            &extensions,
            "-out",
            &certificate,
        ]);
        fs::set_permissions(self.path(&key), Permissions::from_mode(0o600)).expect("our own file");
    }

    /// Makes the list of revoked certificates anew, with this one on it.
    pub fn revoke(&self, name: &str) {
        let folder = self.0.path().display();
        let config = format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index.txt\ncrlnumber={folder}/number\ndefault_md=sha256\n\
             default_crl_days=60\ncertificate={folder}/clients.pem\nprivate_key={folder}/clients.key\n"
        );
        fs::write(self.path("ca.cnf"), config).expect("written");
        fs::write(self.path("index.txt"), "").expect("written");
        fs::write(self.path("number"), "01\n").expect("written");
        self.openssl(&["ca", "-config", "ca.cnf", "-revoke", &format!("{name}.pem")]);
        self.openssl(&["ca", "-config", "ca.cnf", "-gencrl", "-out", "next.crl"]);
        fs::rename(self.path("next.crl"), self.path("clients.crl")).expect("exchanged");
    }

    /// The list anew, as of a time, with a successor promised for another.
    pub fn revoke_until(&self, name: &str, since: &str, next: &str) {
        self.revoke(name);
        let times = ["-crl_lastupdate", since, "-crl_nextupdate", next];
        self.openssl(&[&["ca", "-config", "ca.cnf", "-gencrl", "-out", "clients.crl"], &times[..]].concat());
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(Path::new(self.0.path())).output();
        let output = output.unwrap_or_else(|fault| panic!("openssl (Debian package openssl): {fault}"));
        assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
