// Prints the Khronos validator's report on a GLB as JSON: node validate.cjs FILE
const { readFileSync } = require("fs");
const validator = require("gltf-validator");

validator.validateBytes(new Uint8Array(readFileSync(process.argv[2])), { maxIssues: 0 })
    .then((report) => console.log(JSON.stringify(report)));
