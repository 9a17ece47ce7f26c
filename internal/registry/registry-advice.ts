/** What a person can do about what a registry answers, or about one that does not. */

/** Certificates that no trusted authority has signed, in the words of OpenSSL and Node. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** Refusals of a client's certificate; OpenSSL has renamed what comes before. */
const CLIENT_REFUSED = /_ALERT_(?:CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE)$/;

/** Whether what a connection failed of stays as it is until a person changes it, by the error's code. */
export function isLasting(code: string): boolean {
  return UNTRUSTED.has(code) || CLIENT_REFUSED.test(code) || LASTING.has(code);
}

const LASTING: ReadonlySet<string> = new Set([
  'CERT_HAS_EXPIRED',
  'ENOTFOUND',
  'EPROTO', // what answers does not speak TLS
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/** Advice on a connection that could not be made, by the error's code. */
export function connectionAdvice(code: string, { hostname, host }: URL): string | undefined {
  if (UNTRUSTED.has(code)) {
    return `put the certificate of its authority into certs.d/${host}/hosts.toml as "ca", or into the machine's trust store`;
  }
  if (CLIENT_REFUSED.test(code)) {
    return `the registry wants a client certificate: put it into certs.d/${host}/hosts.toml as "client"`;
  }
  switch (code) {
    case 'CERT_HAS_EXPIRED':
    case 'CERT_NOT_YET_VALID':
      return "renew the registry's certificate, or set this machine's clock";
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `use the name that the certificate is for, or get one for ${hostname}`;
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return `if the registry has no TLS, name it as http://${host} in certs.d/${host}/hosts.toml, or use --plain-http`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `check the name ${hostname}, and this machine's DNS`;
    case 'ECONNREFUSED':
      return `check that the registry runs and that ${host} is its address`;
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return `check the network and firewall between this machine and ${host}, and the proxy settings`;
    default:
      return undefined;
  }
}

/** Whether credentials were sent with a request that was refused. */
export type CredentialsSent = 'none' | 'refused';

/** Advice on an answer that is not what was asked for. */
export function statusAdvice(
  status: number,
  url: URL,
  sent: CredentialsSent | undefined,
): string | undefined {
  switch (status) {
    case 400:
      return url.protocol === 'http:'
        ? `if the registry has TLS, name it as https://${url.host} in certs.d/${url.host}/hosts.toml`
        : undefined;
    case 401:
      if (sent === undefined) return undefined;
      return sent === 'refused'
        ? `check the user and the password for ${url.host}`
        : `log in to ${url.host} (ctr: --user, Kubernetes: imagePullSecrets), and check the image's name`;
    case 403:
      return "check the image's name, and that the user may read it";
    case 404:
      if (url.pathname.includes('/blobs/uploads/')) return "check the image's name";
      return url.pathname.includes('/blobs/')
        ? 'the registry lacks a part of the image: push the image again'
        : "check the image's name and tag";
    case 429:
      return `wait, log in to ${url.host} for a higher limit, or set up a mirror in certs.d`;
    case 500:
    case 502:
    case 503:
    case 504:
      return `try later, or see the log of the registry ${url.host} or of the proxy before it`;
    default:
      return undefined;
  }
}
