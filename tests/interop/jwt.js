// Makes keys and tokens for jwt_spec.lua: the order is JSON on standard input, what was made JSON on standard output.
//
//   {"keys": {"a": {"alg": "ES256", "kid": "1"}}, "tokens": {"good": {"key": "a", "claims": {…}}}}
//   -> {"keys": {"a": {"jwk": {…}, "pem": "…"}}, "tokens": {"good": "…"}}
//
// Tokens are made by `jose`, as an issuer would. One with `raw` is made by hand, as an attacker would: its header is
// exactly that, and it is signed as its key's algorithm says, with the text of the public key as secret
// ("public key as secret"), or not at all ("nothing").
const crypto = require("node:crypto");
const jose = require("jose");

async function makeKey({alg, kid}) {
    if (alg === "HS256") {
        const secret = crypto.randomBytes(32);
        return {alg, kid, signs: secret, jwk: {kty: "oct", k: secret.toString("base64url"), kid}};
    }
    const pair = await jose.generateKeyPair(alg, {extractable: true});
    const jwk = await jose.exportJWK(pair.publicKey);
    return {
        alg, kid, signs: pair.privateKey, pem: await jose.exportSPKI(pair.publicKey),
        jwk: {...jwk, kid, use: "sig", alg},
    };
}

function encode(value) {
    return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function signature(key, how, text) {
    if (how === "nothing") {
        return "";
    }
    if (how === "public key as secret") {
        return crypto.createHmac("sha256", key.pem).update(text).digest("base64url");
    }
    if (key.alg === "HS256") {
        return crypto.createHmac("sha256", key.signs).update(text).digest("base64url");
    }
    return crypto.sign("sha256", Buffer.from(text), {
        key: key.signs, dsaEncoding: "ieee-p1363",
    }).toString("base64url");
}

async function makeToken({key, claims, header, raw, signed}) {
    if (raw) {
        const text = encode(raw) + "." + encode(claims);
        return text + "." + signature(key, signed, text);
    }
    return new jose.SignJWT(claims).setProtectedHeader({alg: key.alg, kid: key.kid, ...header}).sign(key.signs);
}

async function main() {
    let input = "";
    for await (const piece of process.stdin) {
        input += piece;
    }
    const order = JSON.parse(input);
    const keys = {};
    const made = {keys: {}, tokens: {}};
    for (const [name, wanted] of Object.entries(order.keys)) {
        keys[name] = await makeKey(wanted);
        made.keys[name] = {jwk: keys[name].jwk, pem: keys[name].pem};
    }
    for (const [name, wanted] of Object.entries(order.tokens)) {
        made.tokens[name] = await makeToken({...wanted, key: keys[wanted.key]});
    }
    process.stdout.write(JSON.stringify(made));
}

main();
