//! Which addresses a recording may be fetched from. Pure: nothing is resolved or connected here.
//!
//! A recording's URL reaches us in callbacks and call details, so it is input, and the proxy that follows it
//! holds Exotel's credentials and stands inside the team's network. An address is admitted only when it is
//! written the way it will be requested: what a parser would have to repair (other alphabets, escapes in the
//! host, backslashes, dot segments) is refused rather than repaired. Every redirect goes through here again.

use url::{Host, Origin, Position, Url};

/// Longer addresses are refused; a pre-signed S3 URL has some 600 characters, 2000 with a session token.
const LONGEST: usize = 4_096;

/// Every host under these is Exotel's.
const EXOTEL_SUFFIXES: [&str; 2] = [".exotel.com", ".exotel.in"];

/// The buckets that Exotel is known to keep recordings in, with their region. Bucket names are unique across
/// AWS, so the name in host or path settles whose files they are.
const BUCKETS: [(&str, &str); 2] = [
    ("exotelrecordings", "ap-southeast-1"),
    ("exotel-mum1-recordings", "ap-south-1"),
];

/// Who serves an admitted address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A host under `exotel.com` or `exotel.in`.
    Exotel,
    /// One of Exotel's buckets on S3.
    Bucket,
    /// An origin that the configuration adds: the local simulator.
    Extra,
}

/// An address that may be requested, provided its host resolves to a public one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The address to request; for Exotel's hosts and buckets always https.
    pub url: Url,
    /// Who serves it.
    pub place: Place,
}

impl Admitted {
    /// Whether Exotel's key and token may be sent there. Never to S3, which is a third party to them and
    /// refuses a signed request that has them.
    pub fn may_see_credentials(&self) -> bool {
        match self.place {
            Place::Exotel | Place::Extra => true,
            Place::Bucket => false,
        }
    }

    /// Whether both are served by the same scheme, host and port.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.url.origin() == other.url.origin()
    }
}

/// Why an address is not requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than any recording's address.
    #[error("the address has more than {LONGEST} characters")]
    TooLong,
    /// Not an absolute URL with a host.
    #[error("the address is not a URL")]
    Unreadable,
    /// Characters that a URL has to escape, other alphabets among them.
    #[error("the address has characters that do not belong in a URL")]
    Characters,
    /// Neither https nor http.
    #[error("the address is neither https nor http")]
    Scheme,
    /// A user name or password in front of the host.
    #[error("the address has a user name or password in it")]
    UserInfo,
    /// An IP address in place of a name, in any notation.
    #[error("the host is an IP address")]
    AddressLiteral,
    /// Not the scheme's own port.
    #[error("the address names a port other than 443")]
    Port,
    /// A `#…` part, which no server ever sees.
    #[error("the address has a fragment")]
    Fragment,
    /// Not one of the hosts that keep Exotel's recordings.
    #[error("the host is not one that keeps Exotel's recordings")]
    Host,
    /// Not the form in which the address would be requested, so that two readers could take it for two
    /// addresses.
    #[error("the address is not written the way it would be requested")]
    Form,
    /// An S3 path outside Exotel's buckets, or one with escaped separators.
    #[error("the path is not inside one of Exotel's buckets")]
    Path,
}

/// An origin that the configuration adds cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("RECORDING_EXTRA_ORIGINS has {entry:?}, which is no origin; write it as http://127.0.0.1:4010")]
pub struct BadOrigin {
    entry: String,
}

/// The allow-list of spec 3.3.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    extra: Vec<Origin>,
}

fn extra_origin(entry: &str) -> Option<Origin> {
    let origin = Url::parse(entry)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))?
        .origin();
    (origin.ascii_serialization() == entry.trim_end_matches('/')).then_some(origin)
}

impl Guard {
    /// The allow-list and these origins (`RECORDING_EXTRA_ORIGINS`), http or https; none in the cloud.
    pub fn with_extra_origins<'a>(origins: impl IntoIterator<Item = &'a str>) -> Result<Self, BadOrigin> {
        let read = |entry: &str| extra_origin(entry).ok_or_else(|| BadOrigin { entry: entry.into() });
        Ok(Self {
            extra: origins.into_iter().map(read).collect::<Result<_, _>>()?,
        })
    }

    /// Whether any origin was added to the allow-list.
    pub fn has_extra_origins(&self) -> bool {
        !self.extra.is_empty()
    }

    /// Judges the address of a recording. Plain http on an allow-listed host becomes https.
    pub fn admit(&self, address: &str) -> Result<Admitted, Refusal> {
        if address.len() > LONGEST {
            return Err(Refusal::TooLong);
        }
        if !address.bytes().all(belongs_in_a_url) {
            return Err(Refusal::Characters);
        }
        let mut url = Url::parse(address).map_err(|_| Refusal::Unreadable)?;
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(Refusal::Scheme),
        };
        let written = Written::of(address).ok_or(Refusal::Form)?;
        if written.authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(Refusal::Fragment);
        }
        if written.path_and_query != &url[Position::BeforePath..] {
            return Err(Refusal::Form);
        }
        if self.extra.contains(&url.origin()) {
            return Ok(Admitted {
                url,
                place: Place::Extra,
            });
        }
        let host = match url.host() {
            Some(Host::Domain(host)) => host,
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(Refusal::AddressLiteral),
            None => return Err(Refusal::Unreadable),
        };
        // The parser drops the scheme's own port, so whatever is left is another.
        if url.port().is_some() {
            return Err(Refusal::Port);
        }
        let own_port = if https { ":443" } else { ":80" };
        let name = written
            .authority
            .strip_suffix(own_port)
            .unwrap_or(written.authority);
        if !name.eq_ignore_ascii_case(host) {
            return Err(Refusal::Form);
        }
        let place = judge(host, url.path())?;
        if !https {
            url.set_scheme("https").map_err(|()| Refusal::Scheme)?;
        }
        Ok(Admitted { url, place })
    }

    /// Judges where `from` redirects to: an absolute address, or one relative to it.
    pub fn admit_redirect(&self, from: &Admitted, location: &str) -> Result<Admitted, Refusal> {
        if !location.bytes().all(belongs_in_a_url) {
            return Err(Refusal::Characters);
        }
        match Url::parse(location) {
            Ok(_) => self.admit(location),
            Err(url::ParseError::RelativeUrlWithoutBase) => {
                let joined = from.url.join(location).map_err(|_| Refusal::Unreadable)?;
                self.admit(joined.as_str())
            }
            Err(_) => Err(Refusal::Unreadable),
        }
    }
}

/// An absolute address cut up as it is written, before a parser mends it.
struct Written<'a> {
    authority: &'a str,
    path_and_query: &'a str,
}

impl<'a> Written<'a> {
    fn of(address: &'a str) -> Option<Self> {
        let (_, rest) = address.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(end);
        Some(Self {
            authority,
            path_and_query,
        })
    }
}

/// Visible ASCII, but for what the URL standard escapes or reads as a slash.
fn belongs_in_a_url(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
}

fn judge(host: &str, path: &str) -> Result<Place, Refusal> {
    if !host.split('.').all(is_plain_label) {
        return Err(Refusal::Host);
    }
    if escapes_a_separator(path) {
        return Err(Refusal::Path);
    }
    if EXOTEL_SUFFIXES.iter().any(|suffix| host.ends_with(suffix)) {
        return Ok(Place::Exotel);
    }
    for (bucket, region) in BUCKETS {
        for server in [
            format!("s3-{region}.amazonaws.com"),
            format!("s3.{region}.amazonaws.com"),
        ] {
            if host == server {
                return bucket_path(path);
            }
            if host
                .strip_suffix(server.as_str())
                .and_then(|front| front.strip_suffix('.'))
                == Some(bucket)
            {
                return if path.len() > 1 {
                    Ok(Place::Bucket)
                } else {
                    Err(Refusal::Path)
                };
            }
        }
    }
    Err(Refusal::Host)
}

fn bucket_path(path: &str) -> Result<Place, Refusal> {
    let (bucket, key) = path
        .strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .ok_or(Refusal::Path)?;
    let known = BUCKETS.iter().any(|(name, _)| *name == bucket);
    if known && !key.is_empty() {
        Ok(Place::Bucket)
    } else {
        Err(Refusal::Path)
    }
}

/// Letters, digits and inner hyphens. Exotel has no internationalised hosts, so an `xn--` label is somebody's
/// trick.
fn is_plain_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with("xn--")
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// An escaped slash, backslash, dot, per cent sign or control character: a server that unescapes once more
/// would see another path.
fn escapes_a_separator(path: &str) -> bool {
    path.split('%').skip(1).any(|rest| {
        let code = rest
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        code.is_none_or(|byte| byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b'.' | b'%'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn admit(address: &str) -> Result<Admitted, Refusal> {
        Guard::default().admit(address)
    }

    #[test]
    fn every_place_where_exotel_keeps_recordings_is_admitted() {
        for (address, place) in [
            (
                "https://recordings.exotel.com/exotelrecordings/acme1/5f0c1d2e3a4b4c5d8e9f0a1b2c3d196l.mp3",
                Place::Exotel,
            ),
            (
                "https://recordings.exotel.com:443/exotelrecordings/acme1/1772118444.76627_1.mp3",
                Place::Exotel,
            ),
            (
                "https://Recordings.Exotel.com/exotelrecordings/acme1/a.mp3",
                Place::Exotel,
            ),
            ("https://storage.exotel.in/acme1/a%20b.mp3?x=%2F", Place::Exotel),
            (
                "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/acme1/a.mp3",
                Place::Bucket,
            ),
            (
                "https://s3.ap-southeast-1.amazonaws.com/exotelrecordings/acme1/a.mp3?X-Amz-Credential=AK%2F20261121&X-Amz-Signature=00",
                Place::Bucket,
            ),
            (
                "https://s3-ap-south-1.amazonaws.com/exotel-mum1-recordings/acme1/a.mp3",
                Place::Bucket,
            ),
            (
                "https://s3.ap-south-1.amazonaws.com/exotel-mum1-recordings/acme1/a.mp3",
                Place::Bucket,
            ),
            (
                "https://exotelrecordings.s3.ap-southeast-1.amazonaws.com/acme1/a.mp3",
                Place::Bucket,
            ),
            (
                "https://exotel-mum1-recordings.s3.ap-south-1.amazonaws.com/acme1/a.mp3",
                Place::Bucket,
            ),
        ] {
            assert_eq!(
                admit(address).map(|admitted| admitted.place),
                Ok(place),
                "{address}"
            );
        }
    }

    #[test]
    fn plain_http_becomes_https_on_the_same_host() {
        for address in [
            "http://recordings.exotel.com/a/b.mp3",
            "http://recordings.exotel.com:80/a/b.mp3",
        ] {
            assert_eq!(
                admit(address).unwrap().url.as_str(),
                "https://recordings.exotel.com/a/b.mp3"
            );
        }
        assert_eq!(
            admit("http://recordings.exotel.com:443/a/b.mp3"),
            Err(Refusal::Port)
        );
        assert_eq!(
            admit("https://recordings.exotel.com:80/a/b.mp3"),
            Err(Refusal::Port)
        );
    }

    #[test]
    fn credentials_are_for_exotel_and_never_for_s3() {
        assert!(
            admit("https://recordings.exotel.com/a.mp3")
                .unwrap()
                .may_see_credentials()
        );
        assert!(
            !admit("https://s3-ap-south-1.amazonaws.com/exotel-mum1-recordings/a.mp3")
                .unwrap()
                .may_see_credentials()
        );
        assert!(
            !admit("https://exotelrecordings.s3.ap-southeast-1.amazonaws.com/a.mp3")
                .unwrap()
                .may_see_credentials()
        );
    }

    #[test]
    fn an_extra_origin_is_admitted_as_written_and_no_other_is() {
        let guard = Guard::with_extra_origins(["http://127.0.0.1:4010", "http://localhost:4011/"]).unwrap();
        assert_eq!(
            guard.admit("http://127.0.0.1:4010/rec/a.mp3").unwrap().place,
            Place::Extra
        );
        assert_eq!(
            guard
                .admit("http://127.0.0.1:4010/rec/a.mp3")
                .unwrap()
                .url
                .scheme(),
            "http"
        );
        assert_eq!(
            guard.admit("http://localhost:4011/rec/a.mp3").unwrap().place,
            Place::Extra
        );
        for address in [
            "http://127.0.0.1/rec/a.mp3",
            "http://127.0.0.1:4011/rec/a.mp3",
            "https://127.0.0.1:4010/rec/a.mp3",
            "http://user@127.0.0.1:4010/rec/a.mp3",
            "http://localhost:4010/rec/a.mp3",
        ] {
            assert!(guard.admit(address).is_err(), "{address}");
        }
    }

    #[test]
    fn an_extra_origin_is_an_origin_and_nothing_more() {
        for entry in [
            "127.0.0.1:4010",
            "http://127.0.0.1:4010/recordings",
            "ftp://127.0.0.1",
            "http://u@127.0.0.1:1",
            "*",
        ] {
            assert!(Guard::with_extra_origins([entry]).is_err(), "{entry}");
        }
        assert!(!Guard::with_extra_origins([]).unwrap().has_extra_origins());
    }

    #[test]
    fn a_redirect_is_judged_like_the_address_it_leads_to() {
        let from = admit("https://recordings.exotel.com/acme1/a.mp3").unwrap();
        let to = |location| {
            Guard::default()
                .admit_redirect(&from, location)
                .map(|to| to.url.to_string())
        };
        assert_eq!(
            to("/acme1/b.mp3"),
            Ok("https://recordings.exotel.com/acme1/b.mp3".into())
        );
        assert_eq!(
            to("b.mp3?x=1"),
            Ok("https://recordings.exotel.com/acme1/b.mp3?x=1".into())
        );
        assert_eq!(
            to("//storage.exotel.com/b.mp3"),
            Ok("https://storage.exotel.com/b.mp3".into())
        );
        assert_eq!(
            to("http://storage.exotel.com/b.mp3"),
            Ok("https://storage.exotel.com/b.mp3".into())
        );
        assert_eq!(to("//169.254.169.254/latest"), Err(Refusal::AddressLiteral));
        assert_eq!(to("https://evil.example/b.mp3"), Err(Refusal::Host));
        assert_eq!(to("/\\evil.example/b.mp3"), Err(Refusal::Characters));
    }

    /// Addresses out of the parts that honest and hostile ones are made of.
    fn assembled() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("https://".to_owned()),
            Just("http://".to_owned()),
            Just("recordings.exotel.com".to_owned()),
            Just(".exotel.in".to_owned()),
            Just("s3-ap-southeast-1.amazonaws.com".to_owned()),
            Just("exotelrecordings".to_owned()),
            Just("evil.example".to_owned()),
            Just("127.0.0.1".to_owned()),
            "[-./\\\\:@#?%&=_a-z0-9]{0,3}",
            "\\PC{0,2}",
        ];
        // Without an honest beginning hardly one in a hundred would be admitted, and the properties would say
        // little.
        let beginning = prop_oneof![
            Just("https://recordings.exotel.com"),
            Just("http://a.exotel.in/b"),
            Just("https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/"),
            Just(""),
        ];
        (beginning, prop::collection::vec(part, 0..6))
            .prop_map(|(beginning, parts)| beginning.to_owned() + &parts.concat())
    }

    proptest! {
        #[test]
        fn whatever_is_admitted_leads_to_exotel_over_https(address in assembled()) {
            if let Ok(Admitted { url, place }) = admit(&address) {
                prop_assert_eq!((url.scheme(), url.port(), url.username(), url.password(), url.fragment()), ("https", None, "", None, None));
                let host = url.host_str().unwrap();
                match place {
                    Place::Exotel => prop_assert!(host.ends_with(".exotel.com") || host.ends_with(".exotel.in")),
                    Place::Bucket => prop_assert!(host.ends_with(".amazonaws.com") && address.contains("exotel")),
                    Place::Extra => prop_assert!(false, "nobody added an origin"),
                }
                // Judged again, it is admitted as it is.
                prop_assert_eq!(admit(url.as_str()), Ok(Admitted { url, place }));
            }
        }

        #[test]
        fn no_text_makes_the_guard_panic(address in "\\PC{0,200}", from in assembled()) {
            let _ = admit(&address);
            let base = admit("https://recordings.exotel.com/a/b.mp3").unwrap();
            let _ = Guard::default().admit_redirect(&base, &from);
        }
    }
}
