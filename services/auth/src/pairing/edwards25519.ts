// Which 32 bytes are a sound Ed25519 public key. OpenSSL takes any: a key of small order would let everybody sign.
// Curve and encoding: RFC 8032 §5.1.

const P = 2n ** 255n - 19n;
const D = mod(-121665n * power(121666n, P - 2n));

/**
 * Whether `bytes` (32) encode a point of edwards25519, canonically, whose order is not 1, 2, 4 or 8.
 * Not in constant time: public keys are public.
 */
export function isSoundPublicKey(bytes: Uint8Array): boolean {
  if (bytes.length !== 32) return false;
  const bigEndian = Buffer.from(bytes.toReversed());
  bigEndian[0] = (bigEndian[0] ?? 0) & 0x7f; // Without the sign of x.
  const y = BigInt(`0x${bigEndian.toString("hex")}`);
  if (y >= P) return false;
  const y2 = mod(y * y);
  // x² = u / v, a square exactly when u·v is one (Euler's criterion).
  const u = mod(y2 - 1n);
  const v = mod(D * y2 + 1n);
  if (power(mod(u * v), (P - 1n) / 2n) > 1n) return false;
  // Order 1 and 2: y = ±1. Order 4: y = 0. Order 8: doubling gives y = 0, so x² = −y², which is d·y⁴ + 2y² − 1 = 0.
  return y !== 0n && y2 !== 1n && mod(D * y2 * y2 + 2n * y2 - 1n) !== 0n;
}

function mod(value: bigint): bigint {
  const rest = value % P;
  return rest < 0n ? rest + P : rest;
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let factor = mod(base), left = exponent; left > 0n; left >>= 1n, factor = mod(factor * factor))
    if (left & 1n) result = mod(result * factor);
  return result;
}
