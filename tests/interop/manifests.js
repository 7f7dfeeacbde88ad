// Holds manifests against the schemas of Kubernetes and of Prometheus' operator, or a compose file against that of the
// Compose specification, strictly: a key that no schema knows is a mistake too. Prints the documents as one JSON array;
// what is wrong goes to standard error, one problem a line, with exit status 1.
// node manifests.js kubernetes|compose FILE…
"use strict";
const fs = require("fs");
const path = require("path");
const yaml = require("js-yaml");

const apis = {
    "v1": "kubernetes-models/v1",
    "apps/v1": "kubernetes-models/apps/v1",
    "batch/v1": "kubernetes-models/batch/v1",
    "networking.k8s.io/v1": "kubernetes-models/networking.k8s.io/v1",
    "policy/v1": "kubernetes-models/policy/v1",
    "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
};

// The validators of kubernetes-models let keys pass that they do not know. But of each object whose keys they know they
// ask for those: what is there and nobody asked for is unknown.
function watched(value, asked) {
    if (value === null || typeof value !== "object") return value;
    return new Proxy(value, {
        get(target, key) {
            if (typeof key !== "string" || !Object.hasOwn(target, key)) {
                if (typeof key === "string" && !asked.has(target)) asked.set(target, new Map());
                return Reflect.get(target, key);
            }
            if (!asked.has(target)) asked.set(target, new Map());
            const children = asked.get(target);
            if (!children.has(key)) children.set(key, watched(target[key], asked));
            return children.get(key);
        },
    });
}

function unknownKeys(value, asked, place) {
    if (value === null || typeof value !== "object" || !asked.has(value)) return [];
    return Object.keys(value).flatMap((key) => {
        const inner = Array.isArray(value) ? `${place}[${key}]` : `${place}.${key}`;
        return asked.get(value).has(key) ? unknownKeys(value[key], asked, inner) : [`${inner}: no such key`];
    });
}

function checkKubernetes(document) {
    const where = `${document.kind} ${document.metadata?.name}`;
    const models = apis[document.apiVersion];
    const Model = models && require(models)[document.kind];
    if (!Model) return [`${where}: no such kind in ${document.apiVersion}`];
    const asked = new Map();
    try {
        Model.prototype.validate.call(watched(document, asked));
    } catch (error) {
        return error.message.split(", ").map((problem) => `${where}: ${problem}`);
    }
    return unknownKeys(document, asked, where);
}

// The linter dclint is here for the schema that comes with it.
function checkCompose(document) {
    const Ajv = require("ajv").default;
    const file = path.join(path.dirname(require.resolve("ajv/package.json")), "../dclint/schemas/compose.schema.json");
    const schema = JSON.parse(fs.readFileSync(file, "utf8"));
    delete schema.$schema; // by an address that ajv does not know it by
    const validate = new Ajv({strict: false, allErrors: true, validateFormats: false}).compile(schema);
    return validate(document) ? [] : validate.errors.map((error) => `${error.instancePath}: ${error.message}`);
}

const check = {kubernetes: checkKubernetes, compose: checkCompose}[process.argv[2]];
const documents = [];
let good = true;
for (const file of process.argv.slice(3)) {
    for (const document of yaml.loadAll(fs.readFileSync(file, "utf8"))) {
        documents.push(document);
        for (const problem of check(document)) {
            good = false;
            console.error(`${path.basename(file)}: ${problem}`);
        }
    }
}
console.log(JSON.stringify(documents));
process.exitCode = good ? 0 : 1;
