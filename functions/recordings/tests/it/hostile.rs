//! Addresses that somebody might plant in a callback. None of them is connected to, nor reached by a
//! redirect.

use http::{HeaderMap, HeaderValue};
use recordings::{
    fetch::{Access, FetchError},
    guard::Guard,
};

use crate::internet::{Internet, SERVER, audio, credentials, redirect};

/// Something in front of the host that some reader takes for the host, or the reverse.
const USER_INFO: &[&str] = &[
    "https://user@recordings.exotel.com/a.mp3",
    "https://user:password@recordings.exotel.com/a.mp3",
    "https://:password@recordings.exotel.com/a.mp3",
    "https://@recordings.exotel.com/a.mp3",
    "https://:@recordings.exotel.com/a.mp3",
    "https://user@@recordings.exotel.com/a.mp3",
    "https://recordings.exotel.com@evil.example/a.mp3",
    "https://recordings.exotel.com:443@evil.example/a.mp3",
    "https://recordings.exotel.com%40evil.example/a.mp3",
    "https://recordings.exotel.com%2f@evil.example/a.mp3",
    "https://recordings.exotel.com%00@evil.example/a.mp3",
    "https://evil.example@recordings.exotel.com/a.mp3",
    "https://evil.example%40recordings.exotel.com/a.mp3",
    "https://evil.example:80@recordings.exotel.com/a.mp3",
    "https://127.0.0.1@recordings.exotel.com/a.mp3",
    "https://user@s3-ap-southeast-1.amazonaws.com/exotelrecordings/a.mp3",
    "https://user@169.254.169.254/latest/meta-data/",
];

const SCHEMES: &[&str] = &[
    "",
    " ",
    "null",
    "recordings.exotel.com/a.mp3",
    "//recordings.exotel.com/a.mp3",
    "/etc/passwd",
    "file:///etc/passwd",
    "file://recordings.exotel.com/etc/passwd",
    "ftp://recordings.exotel.com/a.mp3",
    "ftps://recordings.exotel.com/a.mp3",
    "gopher://recordings.exotel.com:70/_x",
    "dict://recordings.exotel.com:11211/stats",
    "ldap://recordings.exotel.com/a",
    "ws://recordings.exotel.com/a.mp3",
    "wss://recordings.exotel.com/a.mp3",
    "s3://exotelrecordings/acme1/a.mp3",
    "data:audio/mpeg;base64,AAAA",
    "data://recordings.exotel.com/a.mp3",
    "javascript://recordings.exotel.com/%0aalert(1)",
    "jar:https://recordings.exotel.com/a.jar!/a",
    "view-source:https://recordings.exotel.com/a.mp3",
    "blob:https://recordings.exotel.com/a",
    "about:blank",
    "httpss://recordings.exotel.com/a.mp3",
    "https+unix://recordings.exotel.com/a.mp3",
    "https:recordings.exotel.com/a.mp3",
    "https:/recordings.exotel.com/a.mp3",
    "https:///recordings.exotel.com/a.mp3",
    "https:////recordings.exotel.com/a.mp3",
    "https://",
    "https:///",
    "https://?recordings.exotel.com",
    "http:recordings.exotel.com/a.mp3",
    "url:https://recordings.exotel.com/a.mp3",
];

const PORTS: &[&str] = &[
    "https://recordings.exotel.com:0/a.mp3",
    "https://recordings.exotel.com:22/a.mp3",
    "https://recordings.exotel.com:80/a.mp3",
    "https://recordings.exotel.com:444/a.mp3",
    "https://recordings.exotel.com:8080/a.mp3",
    "https://recordings.exotel.com:8443/a.mp3",
    "https://recordings.exotel.com:0443/a.mp3",
    "https://recordings.exotel.com:00000443/a.mp3",
    "https://recordings.exotel.com:/a.mp3",
    "https://recordings.exotel.com:443:443/a.mp3",
    "https://recordings.exotel.com:65535/a.mp3",
    "https://recordings.exotel.com:65979/a.mp3",
    "https://recordings.exotel.com:-443/a.mp3",
    "https://recordings.exotel.com:+443/a.mp3",
    "https://recordings.exotel.com:https/a.mp3",
    "https://recordings.exotel.com:%34%34%33/a.mp3",
    "http://recordings.exotel.com:443/a.mp3",
    "http://recordings.exotel.com:8080/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com:9000/exotelrecordings/a.mp3",
];

/// The same few machines in every notation that some resolver understands.
const IPV4: &[&str] = &[
    "https://127.0.0.1/a.mp3",
    "https://127.0.0.1:443/a.mp3",
    "https://127.1/a.mp3",
    "https://127.0.1/a.mp3",
    "https://127.255.255.254/a.mp3",
    "https://0/a.mp3",
    "https://0.0.0.0/a.mp3",
    "https://2130706433/a.mp3",
    "https://017700000001/a.mp3",
    "https://0x7f000001/a.mp3",
    "https://0X7F000001/a.mp3",
    "https://0x7f.0.0.1/a.mp3",
    "https://0x7f.1/a.mp3",
    "https://0177.0.0.1/a.mp3",
    "https://0177.0.0.01/a.mp3",
    "https://00000177.0.0.1/a.mp3",
    "https://127.0.0.1./a.mp3",
    "https://127.0.0.0x1/a.mp3",
    "https://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "https://2852039166/latest/meta-data/",
    "https://0xa9fea9fe/latest/meta-data/",
    "https://0xa9.0xfe.0xa9.0xfe/latest/meta-data/",
    "https://0251.0376.0251.0376/latest/meta-data/",
    "https://025177524776/latest/meta-data/",
    "https://169.254.43518/latest/meta-data/",
    "https://169.16689662/latest/meta-data/",
    "https://169.254.170.2/v2/credentials",
    "https://10.0.0.1/a.mp3",
    "https://167772161/a.mp3",
    "https://012.0.0.1/a.mp3",
    "https://172.16.0.1/a.mp3",
    "https://192.168.0.1/a.mp3",
    "https://0300.0250.0.1/a.mp3",
    "https://100.64.0.1/a.mp3",
    "https://198.18.0.1/a.mp3",
    "https://224.0.0.1/a.mp3",
    "https://255.255.255.255/a.mp3",
    "https://256.256.256.256/a.mp3",
    "https://4294967296/a.mp3",
    "https://13.250.0.10/exotelrecordings/a.mp3",
    "http://127.0.0.1/a.mp3",
    "http://169.254.169.254/latest/meta-data/",
];

const IPV6: &[&str] = &[
    "https://[::1]/a.mp3",
    "https://[::]/a.mp3",
    "https://[0:0:0:0:0:0:0:1]/a.mp3",
    "https://[0000:0000:0000:0000:0000:0000:0000:0001]/a.mp3",
    "https://[::1]:443/a.mp3",
    "https://[::ffff:127.0.0.1]/a.mp3",
    "https://[::ffff:7f00:1]/a.mp3",
    "https://[::FFFF:169.254.169.254]/latest/meta-data/",
    "https://[0:0:0:0:0:ffff:a9fe:a9fe]/latest/meta-data/",
    "https://[::127.0.0.1]/a.mp3",
    "https://[64:ff9b::127.0.0.1]/a.mp3",
    "https://[64:ff9b::a9fe:a9fe]/a.mp3",
    "https://[2002:7f00:1::]/a.mp3",
    "https://[fd00:ec2::254]/latest/meta-data/",
    "https://[fc00::1]/a.mp3",
    "https://[fe80::1]/a.mp3",
    "https://[fe80::1%25eth0]/a.mp3",
    "https://[fe80::1%eth0]/a.mp3",
    "https://[ff02::1]/a.mp3",
    "https://[2406:da18::1]/a.mp3",
    "https://[::1/a.mp3",
    "https://::1/a.mp3",
    "https://[v1.exotel.com]/a.mp3",
    "https://[recordings.exotel.com]/a.mp3",
    "https://[::1].exotel.com/a.mp3",
    "https://[::1]recordings.exotel.com/a.mp3",
];

const DOTS: &[&str] = &[
    "https://recordings.exotel.com./a.mp3",
    "https://recordings.exotel.com../a.mp3",
    "https://recordings.exotel.com.:443/a.mp3",
    "https://recordings..exotel.com/a.mp3",
    "https://.exotel.com/a.mp3",
    "https://..exotel.com/a.mp3",
    "https://.recordings.exotel.com/a.mp3",
    "https://./a.mp3",
    "https://.../a.mp3",
    "https://storage.exotel.in./a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com./exotelrecordings/a.mp3",
    "https://exotelrecordings.s3.ap-southeast-1.amazonaws.com./a.mp3",
    "https://recordings%2eexotel%2ecom/a.mp3",
    "https://recordings.exotel.com%2e/a.mp3",
    "https://localhost./a.mp3",
];

const HOSTS: &[&str] = &[
    "https://exotel.com/a.mp3",
    "https://exotel.in/a.mp3",
    "https://com/a.mp3",
    "https://evil.example/a.mp3",
    "https://localhost/a.mp3",
    "https://localhost.localdomain/a.mp3",
    "https://metadata.google.internal/computeMetadata/v1/",
    "https://instance-data.ec2.internal/latest/meta-data/",
    "https://evilexotel.com/a.mp3",
    "https://evil-exotel.com/a.mp3",
    "https://recordingsexotel.com/a.mp3",
    "https://recordings-exotel.com/a.mp3",
    "https://recordings.exotel.com.evil.example/a.mp3",
    "https://recordings.exotel.com-evil.example/a.mp3",
    "https://recordings.exotel.comm/a.mp3",
    "https://recordings.exotel.co/a.mp3",
    "https://recordings.exotel.co.in/a.mp3",
    "https://recordings.exotel.com.in/a.mp3",
    "https://recordings.exotel.net/a.mp3",
    "https://recordings.exotel.org/a.mp3",
    "https://recordings.exotel.inc/a.mp3",
    "https://recordings.exote1.com/a.mp3",
    "https://recordings.exoteI.com.evil.example/a.mp3",
    "https://recordings.ex0tel.com/a.mp3",
    "https://recordings.exotei.com/a.mp3",
    "https://recordings.exotell.com/a.mp3",
    "https://127.0.0.1.nip.io/a.mp3",
    "https://recordings.exotel.com.nip.io/a.mp3",
    "https://-.exotel.com/a.mp3",
    "https://-recordings.exotel.com/a.mp3",
    "https://recordings-.exotel.com/a.mp3",
    "https://_recordings.exotel.com/a.mp3",
    "https://*.exotel.com/a.mp3",
    "https://recordings.exotel.com,evil.example/a.mp3",
    "https://recordings.exotel.com;evil.example/a.mp3",
    "https://evil.example;.exotel.com/a.mp3",
    "https://evil.example,.exotel.com/a.mp3",
    "https://evil.example&.exotel.com/a.mp3",
    "https://evil.example!.exotel.com/a.mp3",
    "https://evil.example%23.exotel.com/a.mp3",
    "https://evil.example%2f.exotel.com/a.mp3",
    "https://evil.example%5c.exotel.com/a.mp3",
    "https://evil.example%3f.exotel.com/a.mp3",
    "https://evil.example/.exotel.com/a.mp3",
    "https://evil.example?.exotel.com/a.mp3",
    "https://evil.example#.exotel.com/a.mp3",
    "https://amazonaws.com/exotelrecordings/a.mp3",
    "https://s3.amazonaws.com/exotelrecordings/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com.evil.example/exotelrecordings/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com.cn/exotelrecordings/a.mp3",
    "https://s3-ap-southeast-1-amazonaws.com/exotelrecordings/a.mp3",
    "https://s3-ap-southeast-2.amazonaws.com/exotelrecordings/a.mp3",
    "https://s3.us-east-1.amazonaws.com/exotelrecordings/a.mp3",
    "https://s3.dualstack.ap-southeast-1.amazonaws.com/exotelrecordings/a.mp3",
    "https://s3-website-ap-southeast-1.amazonaws.com/exotelrecordings/a.mp3",
    "https://s3-accesspoint.ap-southeast-1.amazonaws.com/exotelrecordings/a.mp3",
    "https://evils3-ap-southeast-1.amazonaws.com/exotelrecordings/a.mp3",
    "https://lambda.ap-south-1.amazonaws.com/exotelrecordings/a.mp3",
    "https://abc123.execute-api.ap-south-1.amazonaws.com/exotelrecordings/a.mp3",
    "https://ec2-13-250-0-10.ap-southeast-1.compute.amazonaws.com/exotelrecordings/a.mp3",
];

const BUCKETS: &[&str] = &[
    "https://s3-ap-southeast-1.amazonaws.com/",
    "https://s3-ap-southeast-1.amazonaws.com",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings?list-type=2",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/?list-type=2",
    "https://s3-ap-southeast-1.amazonaws.com/evil/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings-evil/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings.evil/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings2/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecording/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/evil-exotelrecordings/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotel-recordings/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/EXOTELRECORDINGS/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/Exotelrecordings/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com//exotelrecordings/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/./exotelrecordings/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/evil/exotelrecordings/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/../evil/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/acme1/../../evil/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/..%2fevil/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/%2e%2e/evil/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/%2E%2e/evil/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/.%2e/evil/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/%2e%2e%2fevil/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/%252e%252e%252fevil/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings%2fa.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings%2Fa.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings%5ca.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings\\..\\evil\\a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings;/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings%00/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/%00a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/a%0d%0aHost:%20evil.example",
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/a%.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/%65xotelrecordings/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/?x=/exotelrecordings/a.mp3",
    "https://s3-ap-southeast-1.amazonaws.com/#/exotelrecordings/a.mp3",
    "https://s3-ap-south-1.amazonaws.com/exotel-mum1-recordings-evil/a.mp3",
    "https://s3-ap-south-1.amazonaws.com/exotel-mum2-recordings/a.mp3",
    "https://s3-ap-south-1.amazonaws.com/exotel-mum1-recordings/../evil/a.mp3",
    "https://s3.ap-south-1.amazonaws.com/exotel-mum1-recordings%2fa.mp3",
    "https://evil.s3-ap-southeast-1.amazonaws.com/exotelrecordings/a.mp3",
    "https://evil.s3.ap-southeast-1.amazonaws.com/exotelrecordings/a.mp3",
    "https://exotelrecordings-evil.s3.ap-southeast-1.amazonaws.com/a.mp3",
    "https://evil.exotelrecordings.s3.ap-southeast-1.amazonaws.com/a.mp3",
    "https://exotelrecordings.evil.s3.ap-southeast-1.amazonaws.com/a.mp3",
    "https://exotelrecordings.s3.amazonaws.com/a.mp3",
    "https://exotelrecordings.s3.ap-south-1.amazonaws.com/a.mp3",
    "https://exotel-mum1-recordings.s3.us-east-1.amazonaws.com/a.mp3",
    "https://exotelrecordings.s3.ap-southeast-1.amazonaws.com/",
];

/// Letters of other alphabets that a browser would fold into ours, or that only look like them.
const ALPHABETS: &[&str] = &[
    "https://recordings.exot\u{435}l.com/a.mp3",
    "https://recordings.\u{435}xotel.com/a.mp3",
    "https://rec\u{43e}rdings.exotel.com/a.mp3",
    "https://recordings.exote\u{406}.com/a.mp3",
    "https://\u{ff52}ecordings.exotel.com/a.mp3",
    "https://recordings.\u{ff45}\u{ff58}\u{ff4f}\u{ff54}\u{ff45}\u{ff4c}.com/a.mp3",
    "https://recordings.\u{24d4}xotel.com/a.mp3",
    "https://recordings.exotel.\u{2102}om/a.mp3",
    "https://recordings\u{3002}exotel\u{3002}com/a.mp3",
    "https://recordings\u{ff0e}exotel.com/a.mp3",
    "https://recordings\u{ff61}exotel.com/a.mp3",
    "https://recordings.exotel.com\u{3002}/a.mp3",
    "https://evil.example\u{ff0f}.exotel.com/a.mp3",
    "https://evil.example\u{2044}.exotel.com/a.mp3",
    "https://evil.example\u{ff03}.exotel.com/a.mp3",
    "https://evil.example\u{ff20}recordings.exotel.com/a.mp3",
    "https://evil.example\u{2100}.exotel.com/a.mp3",
    "https://recordings.exo\u{ad}tel.com/a.mp3",
    "https://recordings.exo\u{200b}tel.com/a.mp3",
    "https://recordings.exo\u{200d}tel.com/a.mp3",
    "https://recordings.exo\u{2060}tel.com/a.mp3",
    "https://recordings.exotel.com\u{202e}/a.mp3",
    "https://recordings.exo\u{df}el.com/a.mp3",
    "https://\u{2460}\u{2461}\u{2466}.0.0.1/a.mp3",
    "https://\u{ff11}\u{ff12}\u{ff17}.0.0.1/a.mp3",
    "https://\u{661}\u{662}\u{667}.0.0.1/a.mp3",
    "https://xn--exotel-9fg.com/a.mp3",
    "https://recordings.xn--exotl-3of.com/a.mp3",
    "https://xn--recrdings-9ig.exotel.com/a.mp3",
    "https://xn--.exotel.com/a.mp3",
    "https://XN--80AK6AA92E.exotel.com/a.mp3",
    "https://recordings%E3%80%82exotel.com/a.mp3",
    "https://%72ecordings.exotel.com/a.mp3",
    "https://recordings.exotel.com/\u{e9}.mp3",
];

/// What a parser mends, cuts or splits.
const CHARACTERS: &[&str] = &[
    " https://recordings.exotel.com/a.mp3",
    "https://recordings.exotel.com/a.mp3 ",
    "https://recordings.exotel.com/a.mp3\n",
    "\thttps://recordings.exotel.com/a.mp3",
    "ht\ntps://recordings.exotel.com/a.mp3",
    "https://evil.example\t.exotel.com/a.mp3",
    "https://recordings.exo\ttel.com/a.mp3",
    "https://recordings.exotel.com\n.evil.example/a.mp3",
    "https://recordings.exotel.com\r\nHost: evil.example/a.mp3",
    "https://recordings.exotel.com\0.evil.example/a.mp3",
    "https://recordings.exotel.com /a.mp3",
    "https://recordings.exotel.com%20/a.mp3",
    "https://recordings.exotel.com%0d%0a/a.mp3",
    "https:\\\\recordings.exotel.com\\a.mp3",
    "https:/\\recordings.exotel.com/a.mp3",
    "https://evil.example\\@recordings.exotel.com/a.mp3",
    "https://evil.example\\.exotel.com/a.mp3",
    "https://recordings.exotel.com\\.evil.example/a.mp3",
    "https://recordings.exotel.com\\@evil.example/a.mp3",
    "https://recordings.exotel.com#@evil.example/a.mp3",
    "https://recordings.exotel.com/#@evil.example/a.mp3",
    "https://recordings.exotel.com?@evil.example/a.mp3",
    "https://evil.example#@recordings.exotel.com/a.mp3",
    "https://evil.example?@recordings.exotel.com/a.mp3",
    "https://recordings.exotel.com/a b.mp3",
    "https://recordings.exotel.com/<script>.mp3",
    "https://recordings.exotel.com/a\"b.mp3",
    "https://recordings.exotel.com/a`b.mp3",
    "https://recordings.exotel.com/{a}.mp3",
    "https://recordings.exotel.com/a|b.mp3",
    "https://recordings.exotel.com/a.mp3\u{7f}",
    "https://recordings.exotel.com/a/../b.mp3",
    "https://recordings.exotel.com/%2e%2e/b.mp3",
    "https://recordings.exotel.com/..%2fb.mp3",
    "https://recordings.exotel.com/a%2fb.mp3",
    "https://recordings.exotel.com/a%5cb.mp3",
    "https://recordings.exotel.com/a%00.mp3",
    "https://recordings.exotel.com/a%0aX.mp3",
    "https://recordings.exotel.com/a%zz.mp3",
    "https://recordings.exotel.com/a%",
    "<https://recordings.exotel.com/a.mp3>",
    "\"https://recordings.exotel.com/a.mp3\"",
    "https://https://recordings.exotel.com/a.mp3",
    "https://recordings.exotel.com",
];

fn hostile() -> Vec<String> {
    let groups = [
        USER_INFO, SCHEMES, PORTS, IPV4, IPV6, DOTS, HOSTS, BUCKETS, ALPHABETS, CHARACTERS,
    ];
    let mut all: Vec<String> = groups.concat().into_iter().map(String::from).collect();
    all.push(format!("https://{}.exotel.com/a.mp3", "a".repeat(64)));
    all.push(format!("https://recordings.exotel.com/{}.mp3", "a".repeat(5_000)));
    all.push(format!("https://{}recordings.exotel.com/a.mp3", "@".repeat(500)));
    all
}

#[tokio::test]
async fn every_hostile_address_is_refused_before_its_name_is_looked_up() {
    let internet = Internet::start(|_| audio("x")).await;
    let fetcher = internet.fetcher();
    let hostile = hostile();
    for address in &hostile {
        let opened = fetcher
            .open(address, Access::Credentials(&credentials()), &HeaderMap::new())
            .await;
        assert!(
            matches!(opened, Err(FetchError::Refused(_))),
            "{address:?}: {opened:?}"
        );
    }
    println!(
        "{} hostile addresses refused: {} lookups, {} connections",
        hostile.len(),
        internet.lookups(),
        internet.connections()
    );
    assert!(hostile.len() >= 200);
    assert_eq!(
        (internet.lookups(), internet.connections(), internet.accepted()),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn no_list_entry_is_there_twice() {
    let mut all = hostile();
    all.sort();
    let before = all.len();
    all.dedup();
    assert_eq!(before, all.len());
}

#[tokio::test]
async fn every_hostile_address_is_refused_as_a_redirect_too() {
    // Left out: relative references, which are other addresses here, and what no header can carry as it is.
    let travels = |address: &String| {
        address.contains("://") && address.trim() == address && HeaderValue::from_str(address).is_ok()
    };
    let absolute: Vec<String> = hostile().into_iter().filter(travels).collect();
    let locations = absolute.clone();
    let internet = Internet::start(move |seen| {
        let index: usize = seen.url.rsplit('/').next().unwrap().parse().unwrap();
        redirect(&locations[index])
    })
    .await;
    let fetcher = internet.fetcher();
    for (index, location) in absolute.iter().enumerate() {
        let opened = fetcher
            .open(
                &format!("https://recordings.exotel.com/{index}"),
                Access::Credentials(&credentials()),
                &HeaderMap::new(),
            )
            .await;
        // A Location that is no URL counts as leading nowhere.
        assert!(
            matches!(opened, Err(FetchError::Refused(_) | FetchError::Redirects)),
            "{location:?}: {opened:?}"
        );
    }
    println!(
        "{} hostile redirects refused after {} connections to the redirecting server",
        absolute.len(),
        internet.accepted()
    );
    assert!(absolute.len() >= 200);
    assert_eq!(internet.seen().len(), absolute.len());
    assert!(
        internet
            .seen()
            .iter()
            .all(|seen| seen.url.starts_with("https://recordings.exotel.com/"))
    );
}

/// Addresses inside somebody's network, as a name server may answer them.
const INSIDE: &[&str] = &[
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001::1",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
];

#[tokio::test]
async fn an_allowed_name_that_leads_inside_is_not_connected_to() {
    for inside in INSIDE {
        let internet = Internet::start(|_| audio("x")).await;
        internet.resolve("recordings.exotel.com", &[inside]);
        let opened = internet
            .fetcher()
            .open(
                "https://recordings.exotel.com/a.mp3",
                Access::Credentials(&credentials()),
                &HeaderMap::new(),
            )
            .await;
        assert!(
            matches!(opened, Err(FetchError::NotPublic(_))),
            "{inside}: {opened:?}"
        );
        assert_eq!((internet.lookups(), internet.accepted()), (1, 0), "{inside}");
    }
}

#[tokio::test]
async fn a_redirect_to_an_allowed_name_that_leads_inside_is_not_followed() {
    let internet = Internet::start(|_| redirect("https://inside.exotel.com/a.mp3")).await;
    internet.resolve("inside.exotel.com", &["10.0.0.1"]);
    let opened = internet
        .fetcher()
        .open(
            "https://recordings.exotel.com/a.mp3",
            Access::Credentials(&credentials()),
            &HeaderMap::new(),
        )
        .await;
    assert!(matches!(opened, Err(FetchError::NotPublic(_))), "{opened:?}");
    assert_eq!(internet.accepted(), 1);
}

#[tokio::test]
async fn a_name_that_changes_its_answer_is_connected_to_where_it_was_checked() {
    let internet = Internet::start(|_| redirect("https://flips.exotel.com/again")).await;
    // Public when asked first, inside from then on.
    internet.resolve("flips.exotel.com", &[SERVER, "169.254.169.254"]);
    let fetcher = internet.fetcher();
    let opened = fetcher
        .open(
            "https://flips.exotel.com/a.mp3",
            Access::Credentials(&credentials()),
            &HeaderMap::new(),
        )
        .await;
    // One lookup served one connection, and its redirects went over the same one.
    assert!(matches!(opened, Err(FetchError::Redirects)), "{opened:?}");
    assert_eq!(
        (internet.lookups(), internet.connections(), internet.accepted()),
        (1, 1, 1)
    );
    // A new client asks again, and the new answer is judged anew.
    let opened = internet
        .fetcher()
        .open(
            "https://flips.exotel.com/a.mp3",
            Access::Credentials(&credentials()),
            &HeaderMap::new(),
        )
        .await;
    assert!(matches!(opened, Err(FetchError::NotPublic(_))), "{opened:?}");
    assert_eq!((internet.lookups(), internet.accepted()), (2, 1));
}

#[tokio::test]
async fn the_cloud_has_no_extra_origin() {
    assert!(!Guard::default().has_extra_origins());
    assert!(
        Guard::default()
            .admit("http://127.0.0.1:4010/recordings/a.mp3")
            .is_err()
    );
}
