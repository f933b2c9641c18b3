// Fetches a URL through a proxy, as programs in Node do: http by an absolute URL, https by the package that npm has.
const [, , proxy, url] = process.argv;
const { protocol, host } = new URL(url);
const print = (response) => {
  if (response.statusCode !== 200) console.error(`${response.statusCode} ${response.statusMessage}`);
  response.pipe(process.stdout).on("finish", () => process.exit(response.statusCode === 200 ? 0 : 1));
};
if (protocol === "http:") {
  const { hostname, port } = new URL(proxy);
  require("http").get({ hostname, port, path: url, headers: { host } }, print);
} else {
  const agent = require("https-proxy-agent")(proxy);
  require("https").get(url, { agent }, print);
}
