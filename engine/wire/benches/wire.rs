//! The parts of this crate that every request pays for: reading a browser's head, reading a backend's, writing the one that
//! goes upstream, and taking a chunked body apart.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringway_wire::forward::{self, ForwardedPlan};
use ringway_wire::{
    BodyReader, FieldName, FieldSet, Framing, Limits, Progress, RequestHead, ResponseHead, Sink, encode,
};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

/// A GET with nine fields, about 700 bytes, as browsers send them.
const REQUEST: &[u8] = b"GET /assets/app/main.3f9a1c.js?v=20260714&locale=en HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.9,de-CH;q=0.8,de;q=0.7\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/products/overview?category=tools&page=2\r\n\
    Cookie: session=2f7d6c1e9b3a4f58a6d0c4e1b7f29a83; theme=dark; consent=analytics.0-marketing.0\r\n\
    Connection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Tue, 14 Jul 2026 08:00:00 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\nConnection: keep-alive\r\nETag: \"65b2-1f\"\r\n\r\n";

fn heads(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    let mut head = RequestHead::new();
    let mut buf = REQUEST.to_vec();
    group.bench_function("request", |bencher| {
        bencher.iter(|| {
            head.clear();
            head.read(black_box(&mut buf), &limits)
        });
    });
    assert_eq!(head.fields.len(), 9);
    group.bench_function("outgoing", |bencher| {
        let mut room = [0; 2048];
        bencher.iter(|| outgoing(&mut room, black_box(&head), black_box(&buf)));
    });
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    let mut head = ResponseHead::new();
    group.bench_function("response", |bencher| {
        bencher.iter(|| {
            head.clear();
            head.read(black_box(RESPONSE), &limits)
        });
    });
    group.bench_function("outgoing response", |bencher| {
        let mut room = [0; 2048];
        bencher.iter(|| outgoing_response(&mut room, black_box(&head), black_box(RESPONSE)));
    });
    group.finish();
}

fn outgoing(room: &mut [u8], head: &RequestHead, buf: &[u8]) -> usize {
    let peer = Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77)));
    let plan = ForwardedPlan {
        x_forwarded: true,
        forwarded: false,
        peer,
        peer_trusted: false,
        client: peer,
        https: false,
        without: FieldSet::EMPTY,
    };
    let mut out = Sink::new(room);
    let line = head.forwardable_line().unwrap_or_default();
    let drop = forward::drop_set(true, false, false).union(FieldSet::EMPTY.with(FieldName::ContentLength));
    encode::kept_lines(&mut out, line, &head.fields, buf, drop);
    encode::framing(&mut out, head.framing());
    forward::forwarded_fields(&mut out, head, buf, &plan);
    encode::end(&mut out);
    out.len()
}

fn outgoing_response(room: &mut [u8], head: &ResponseHead, buf: &[u8]) -> usize {
    let mut out = Sink::new(room);
    let line = head.forwardable_line().unwrap_or_default();
    let drop = FieldSet::EMPTY.with(FieldName::ContentLength);
    encode::kept_lines(&mut out, line, &head.fields, buf, drop);
    encode::framing(&mut out, Framing::Length(head.content_length().unwrap_or_default()));
    encode::end(&mut out);
    out.len()
}

fn in_pieces(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut head = RequestHead::new();
    let mut buf = REQUEST.to_vec();
    criterion.bench_function("head/request byte by byte", |bencher| {
        bencher.iter(|| {
            head.clear();
            (1..=buf.len())
                .map(|len| head.read(&mut buf[..len], &limits))
                .find(|read| *read != Ok(Progress::Partial))
        });
    });
}

fn chunks(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("chunked 64 KiB");
    for size in [64usize, 4096, 65536] {
        let mut bytes = Vec::new();
        for _ in 0..65536 / size {
            bytes.extend_from_slice(encode::chunk_head(size).as_bytes());
            bytes.resize(bytes.len() + size, b'x');
            bytes.extend_from_slice(encode::CHUNK_END);
        }
        bytes.extend_from_slice(encode::LAST_CHUNK);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("chunks of {size}"), |bencher| {
            bencher.iter_batched_ref(
                || bytes.clone(),
                |bytes| BodyReader::new(Framing::Chunked).read(bytes, &limits),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, heads, in_pieces, chunks);
criterion_main!(benches);
