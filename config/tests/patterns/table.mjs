// Makes table.json, which config/tests/patterns.rs reads: what Node finds in paths with each pattern, and what it refuses.
//
//   node config/tests/patterns/table.mjs
//
// A row is a pattern and the paths that it is tried on. Further keys:
//   as      what Node runs in its place, [pattern, flags]: Node 20 does not know modifiers yet
//   decoded the pattern is beyond ASCII: Node sees the path percent-decoded; such rows have no groups
//   unlike  the numbers of groups whose text need not be JavaScript's; a rewrite that uses one is refused
//   warns   the offset in bytes of the first warning
// What is refused has the offset in bytes at which Ringway says so.
import { writeFileSync } from "node:fs";

const rows = [
  // What people write.
  { pattern: "^/api(/.*)?$", paths: ["/api", "/api/", "/api/users", "/apix", "/x/api", "/api//evil.com/x"] },
  { pattern: "^/backend(/.*)?$", paths: ["/backend/users", "/backend", "/backends"] },
  { pattern: "^/v(\\d+)/api(/.*)?$", paths: ["/v1/api/data", "/v12/api", "/v/api", "/v1/apis"] },
  { pattern: "^/v(\\d+)/(.*)$", paths: ["/v1/", "/v10/a/b", "/va/b", "/x/v1/b"] },
  { pattern: "^/(?<tenant>[^/]+)/(a|b)(/.*)?$", paths: ["/t1/a", "/t1/b/c/d", "/t1/c", "/t1/ab", "//a"] },
  { pattern: "^/svc123/v[0-9]+/.*$", paths: ["/svc123/v4/x", "/svc123/v4", "/svc12/v4/x"] },
  { pattern: "\\.(png|jpe?g)$", paths: ["/a.png", "/a/b.jpg", "/b.jpeg", "/b.jpeg/c", "/png"] },
  { pattern: "/users/([0-9]+)(?:/|$)", paths: ["/users/7", "/users/7/x", "/users/7x", "/a/users/12/"] },
  { pattern: "(?:^|/)admin(?:/|$)", paths: ["/admin", "/x/admin/y", "/administrator", "/xadmin"] },
  { pattern: "^/((?:en|de)/)?docs/(.+?)(?:\\.html)?$", paths: ["/docs/a.html", "/en/docs/a/b", "/fr/docs/a", "/docs/"] },
  { pattern: "^/([a-z0-9-]+)/([a-z0-9-]+)/?$", paths: ["/a/b", "/a/b/", "/a/b/c", "/A/b"] },
  { pattern: "^/[\\w.-]+@[\\w.-]+$", paths: ["/a.b@c-d.e", "/a@", "/@a"] },
  { pattern: "^/(.*)/([^/]*)$", paths: ["/a/b/c", "/a", "/a/"] },
  { pattern: "^/(.*?)/([^/]*)$", paths: ["/a/b/c", "/a/b", "/a"] },
  { pattern: "(.*a|.*\\.)(a)?(a|.*)", paths: ["/ab.", "/a.a", "/.aab"] },
  { pattern: "^(.*/a|.*/)(.*)$", paths: ["/a/b", "/b/a", "/x"] },
  { pattern: "", paths: ["/", "/a"] },
  { pattern: "a", paths: ["/a", "/b", "/xax"] },
  { pattern: "^/$", paths: ["/", "/a", "//"] },
  { pattern: "^\\*$", paths: ["*", "/*", "/"] },
  // Anchors, branch by branch.
  { pattern: "^/a|b$", paths: ["/a", "/ax", "/xb", "/bx", "/x/a"] },
  { pattern: "(^/a|b$)", paths: ["/a", "/ax", "/xb", "/bx"] },
  { pattern: "^(?:/a|/b$)", paths: ["/ax", "/b", "/bx", "/x/a"] },
  { pattern: "(?:^/a)?c", paths: ["/ac", "/xc", "/x"] },
  { pattern: "(?:^/a)+c", paths: ["/ac", "/a/ac", "/xc"] },
  { pattern: "a$|^/b|c", paths: ["/xa", "/ax", "/bx", "/xb", "/xcx"] },
  { pattern: "^^/a$$", paths: ["/a", "/ab"] },
  { pattern: "a$b", paths: ["/ab", "/a"], warns: 2 },
  { pattern: "a^b", paths: ["/ab", "/b"], warns: 1 },
  { pattern: "^api", paths: ["/api", "/x"], warns: 1 },
  { pattern: "^(?:api|b)", paths: ["/api", "/b"], warns: 1 },
  { pattern: "^(a|b)", paths: ["/a", "/b"], warns: 1 },
  { pattern: "^[^/]+/", paths: ["/api/", "/x"] },
  // Borders of words.
  { pattern: "\\bapi\\b", paths: ["/api", "/x-api.y", "/apis", "/x_api", "/1api"] },
  { pattern: "\\Bpi\\b", paths: ["/api", "/pi", "/apis"] },
  { pattern: "a\\b-", paths: ["/a-", "/ab"] },
  // Escapes that stand for themselves.
  { pattern: "\\/\\-\\_\\.\\]\\}", paths: ["/-_.]}", "/-_x]}"] },
  { pattern: "]", paths: ["/]", "/a"] },
  { pattern: "}", paths: ["/}", "/a"] },
  { pattern: "\\<a\\>", paths: ["/<a>", "/a"] },
  { pattern: "\\A/a\\z", paths: ["/a", "/A/az"] },
  { pattern: "\\a\\e\\Q\\E\\G\\h\\R\\i", paths: ["/aeQEGhRi", "/a"] },
  { pattern: "\\k", paths: ["/k", "/"] },
  { pattern: "\\pL", paths: ["/pL", "/L"] },
  { pattern: "\\8\\9", paths: ["/89", "/8"] },
  { pattern: "\\x4", paths: ["/x4", "/D"] },
  { pattern: "\\u004", paths: ["/u004", "/D"] },
  { pattern: "\\c", paths: ["/\\c", "/c"] },
  { pattern: "\\c1", paths: ["/\\c1", "/c1"] },
  // Escapes that are characters.
  { pattern: "\\x41\\u0042", paths: ["/AB", "/ab"] },
  { pattern: "\\101\\60", paths: ["/A0", "/101"] },
  { pattern: "(a)\\2", paths: ["/a", "/a2"], warns: 3 },
  { pattern: "\\1", paths: ["/1", "/a"], warns: 0 },
  { pattern: "\\401", paths: ["/401", "/a"], warns: 0 },
  { pattern: "\\0", paths: ["/0", "/a"], warns: 0 },
  { pattern: "\\cA", paths: ["/cA", "/A"], warns: 0 },
  { pattern: "\\t|\\n|\\v|\\f|\\r|a", paths: ["/a", "/tnvfr"], warns: 0 },
  // Sets.
  { pattern: "^/.$", paths: ["/a", "//", "/~", "/aa"] },
  { pattern: "^/\\d\\D$", paths: ["/1a", "/11", "/a1"] },
  { pattern: "^/\\w\\W$", paths: ["/a-", "/_!", "/ab", "/-a"] },
  { pattern: "^\\S+$", paths: ["/a", "/!~"] },
  { pattern: "a\\s", paths: ["/a", "/a%20"], warns: 1 },
  { pattern: "a\\s?b", paths: ["/ab", "/a%20b"], warns: 1 },
  // Classes.
  { pattern: "[]abc]", paths: ["/a", "/abc]"], warns: 0 },
  { pattern: "^/a(?:[]|b)$", paths: ["/ab", "/a"], warns: 6 },
  { pattern: "^[^]+$", paths: ["/a", "/"] },
  { pattern: "^/[a&&b]$", paths: ["/a", "/&", "/b", "/c"] },
  { pattern: "^/[a~~b]$", paths: ["/a", "/~", "/b", "/c"] },
  { pattern: "^/[[]$", paths: ["/[", "/]"] },
  { pattern: "^/[[a]]$", paths: ["/[]", "/a]", "/a"] },
  { pattern: "^/[!--]$", paths: ["/!", "/-", "/+", "/."] },
  { pattern: "^/[+--b]$", paths: ["/+", "/,", "/-", "/b", "/a"] },
  { pattern: "^/[\\w-a]$", paths: ["/z", "/-", "/!"] },
  { pattern: "^/[a-\\d]$", paths: ["/a", "/-", "/5", "/b"] },
  { pattern: "^/[-a]$", paths: ["/-", "/a", "/b"] },
  { pattern: "^/[a-]$", paths: ["/-", "/a", "/b"] },
  { pattern: "^/[a-c-e]$", paths: ["/b", "/-", "/e", "/d"] },
  { pattern: "^/[^a-c]$", paths: ["/b", "/-", "/d", "//"] },
  { pattern: "^/[a^]$", paths: ["/^", "/a", "/b"] },
  { pattern: "^/[\\]\\\\]$", paths: ["/]", "/\\", "/a"] },
  { pattern: "^/[\\B\\k\\-]$", paths: ["/B", "/k", "/-", "/b"] },
  { pattern: "^/[\\b]$", paths: ["/b"], warns: 2 },
  { pattern: "^/[\\101\\x42\\u0043]$", paths: ["/A", "/B", "/C", "/D"] },
  { pattern: "^/[\\c]$", paths: ["/\\", "/c", "/a"] },
  { pattern: "^/[\\c!]$", paths: ["/\\", "/c", "/!"] },
  { pattern: "^/[\\ca]$", paths: ["/\\", "/c", "/a"], warns: 2 },
  { pattern: "^/[\\c1\\c_]$", paths: ["/\\", "/c", "/1", "/_"], warns: 2 },
  { pattern: "^/[(.*+?$|{]+$", paths: ["/(.*+$|{", "/a"] },
  { pattern: "^/[^?#]+$", paths: ["/a", "/"] },
  { pattern: "^/[?#]$", paths: ["/a"], warns: 2 },
  { pattern: "^/[ -~]+$", paths: ["/a~!", "/"] },
  // Quantifiers.
  { pattern: "a{,3}", paths: ["/a{,3}", "/aaa"] },
  { pattern: "a{", paths: ["/a{", "/a"] },
  { pattern: "{x}", paths: ["/{x}", "/x"] },
  { pattern: "^/a{2}$", paths: ["/a", "/aa", "/aaa"] },
  { pattern: "^/a{2,}$", paths: ["/a", "/aa", "/aaa"] },
  { pattern: "^/a{1,2}$", paths: ["/", "/a", "/aa", "/aaa"] },
  { pattern: "^/(a{1,2}?)(a*)$", paths: ["/aaa", "/a", "/"] },
  { pattern: "^/(a{1,2})(a*)$", paths: ["/aaa", "/a"] },
  { pattern: "^/(a*?)(a+?)$", paths: ["/aaa", "/a"] },
  { pattern: "^/(a??)(a?)$", paths: ["/", "/a", "/aa"] },
  { pattern: "^/(a){0}b$", paths: ["/b", "/ab"] },
  { pattern: "a{2}{", paths: ["/aa{", "/a{"] },
  { pattern: "(?:){99999999999}a", paths: ["/a", "/b"] },
  // Groups that are repeated.
  { pattern: "^(?:/([^/]+))+$", paths: ["/a/b/c", "/a", "//"] },
  { pattern: "^/(?:(a)|b)*$", paths: ["/ab", "/ba", "/", "/c"], unlike: [1] },
  { pattern: "^/(?:(a)?b)+(c)$", paths: ["/abbc", "/babc", "/bc"], unlike: [1] },
  { pattern: "^/(a*)*(b)?$", paths: ["/aab", "/b", "/"] },
  { pattern: "^/(a*){0,3}(b)?$", paths: ["/aab", "/b", "/"], unlike: [1] },
  { pattern: "/(|a)*(.*)", paths: ["/aab", "/b"], unlike: [1, 2] },
  { pattern: "/(?:a*?)?(.*)", paths: ["/aab", "/b"], unlike: [1] },
  { pattern: "^/(a*)?(.*)$", paths: ["/aab", "/b", "/"] },
  { pattern: "^/(z)((a+)?(b+)?(c))*$", paths: ["/zaacbbbcac", "/z"], unlike: [3, 4] },
  { pattern: "(a|ab)(c|bcd)(d*)", paths: ["/abcd", "/acd"] },
  { pattern: "((a)|(b))((c)|(d))", paths: ["/ac", "/bd", "/ab"] },
  // Modifiers.
  { pattern: "^/(?i:api)/(x)$", as: ["^/[aA][pP][iI]/(x)$", ""], paths: ["/API/x", "/aPi/x", "/API/X"] },
  { pattern: "^/(?i:a(?-i:b)[c-d])$", as: ["^/[aA]b[c-dC-D]$", ""], paths: ["/AbC", "/abd", "/ABc"] },
  { pattern: "^/(?i:[^a])$", as: ["^/[^a]$", "i"], paths: ["/A", "/a", "/b"] },
  { pattern: "^/(?i:[Z-a])$", as: ["^/[Z-a]$", "i"], paths: ["/z", "/A", "/_", "/b"] },
  { pattern: "(?s:^/.)(?m:^a|b$)(?ms-i:c)?", as: ["^/.(?:^a|b$)c?", "ms"], paths: ["/ab", "/a", "/abc"], warns: 13 },
  // What no path has.
  { pattern: "^/a\\?b=(c)", paths: ["/a", "/ab=c"], warns: 3 },
  { pattern: "^/a(\\?.*)?$", paths: ["/a", "/ab"], warns: 4 },
  { pattern: "/a#b", paths: ["/a", "/ab"], warns: 2 },
  { pattern: "/a b", paths: ["/ab", "/a%20b"], warns: 2 },
  { pattern: "^\\s*/a", paths: ["/a", "/b"], warns: 1 },
  // Beyond ASCII.
  { pattern: "^/é$", decoded: true, paths: ["/%C3%A9", "/%c3%a9", "/%C3", "/e"] },
  { pattern: "^/[éa]+$", decoded: true, paths: ["/%C3%A9a", "/a%c3%A9", "/e", "/"] },
  { pattern: "^/\\u00e9\\xe9\\351$", decoded: true, paths: ["/%C3%A9%C3%A9%C3%A9", "/%C3%A9"] },
  { pattern: "^/日本(?:/|$)", decoded: true, paths: ["/%E6%97%A5%E6%9C%AC", "/%E6%97%A5%E6%9C%AC/x", "/%E6%97%A5"] },
  { pattern: "^/😀$", decoded: true, paths: ["/%F0%9F%98%80", "/%F0%9F%98%81"] },
  { pattern: "^/\\é$", decoded: true, paths: ["/%C3%A9", "/e"] },
];

// Pattern, and the offset in bytes. What Node takes is refused all the same, for reasons that the error gives.
const refused = [
  ["a**", 2], ["x*+", 2], ["^*", 1], ["$+", 1], ["*", 0], ["+a", 0], ["a|?", 2], ["(*)", 1], ["a???", 3],
  ["\\b*", 2], ["\\B{2}", 2], ["{1}", 0], ["a{2}{3}", 4], ["^{2,}", 1],
  ["a{2,1}", 1], ["a{99999999999,3}", 1],
  ["(", 0], ["a(b", 1], ["(a|(b)", 0], [")", 0], ["a)b", 1], ["(?", 0], ["(?a)", 0], ["(?:a", 0], ["(?P<n>a)", 0], ["(?>a)", 0], ["(?#a)", 0], ["(?i)a", 0],
  ["(?ii:a)", 0], ["(?-:a)", 0], ["(?i-i:a)", 0], ["(?x:a)", 0],
  ["[", 0], ["a[b", 1], ["[^", 0], ["[\\]", 0], ["[b-a]", 1], ["[a--b]", 1], ["[a-\\x41]", 1],
  ["\\", 0], ["a\\", 1],
  ["(?<>a)", 3], ["(?<1>a)", 3], ["(?<n", 3], ["(?<a-b>c)", 3], ["(?<n>a)(?<n>b)", 7], ["(?<n>a)|(?<n>b)", 8],
  ["(?<n>a)\\k", 7], ["(?<n>a)\\k<m>", 7], ["[\\k](?<n>a)", 1],
  ["(?=a)", 0], ["/a(?!b)", 2], ["(?<=a)b", 0], ["x(?<!a)b", 1], ["(?=a)*", 0],
  ["(a)\\1", 3], ["\\1(a)", 0], ["(?<n>a)\\k<n>", 7], ["(a)(b)\\2", 6],
  ["\\p{L}", 0], ["[\\P{L}]", 1], ["\\u{61}", 0], ["[\\u{61}]", 1],
  ["[^é]", 2], ["[a-é]", 1], ["[é-ü]", 1], ["\\ud83d", 0], ["[\\ud83d]", 1], ["(?<é>a)", 3],
  ["a{20002}", 1], ["(?:a{200}){200}", 10],
];

function run({ pattern, as = [pattern, ""], decoded }, path) {
  const found = new RegExp(...as).exec(decoded ? decode(path) : path);
  return found && found.slice(1).map((text) => text ?? "");
}

// A path that is cut in the middle of a character is not decoded.
function decode(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function isTaken(pattern) {
  try {
    new RegExp(pattern);
    return true;
  } catch {
    return false;
  }
}

const table = {
  made: `by config/tests/patterns/table.mjs, with Node ${process.version}`,
  patterns: rows.map((row) => ({
    pattern: row.pattern,
    unlike: row.unlike ?? [],
    warns: row.warns ?? null,
    paths: row.paths.map((path) => ({ path, groups: run(row, path) })),
  })),
  refused: refused.map(([pattern, at]) => ({ pattern, at, by_node: !isTaken(pattern) })),
};
// A row a line, so that a change shows as one.
const lines = (list) => list.map((row) => `  ${JSON.stringify(row)}`).join(",\n");
const text = `{"made": ${JSON.stringify(table.made)},\n"patterns": [\n${lines(table.patterns)}\n],\n"refused": [\n${lines(table.refused)}\n]}\n`;
writeFileSync(new URL("table.json", import.meta.url), text);
console.log(`${table.patterns.length} patterns, ${table.refused.length} refused`);
