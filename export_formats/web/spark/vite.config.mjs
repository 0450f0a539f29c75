// Builds ../built/ani3d-spark.js: `make web`. three and Spark stay imports, so that a page has each of them once.
import {dirname, resolve} from "node:path";
import {fileURLToPath} from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

export default {
  root: here,
  logLevel: "warn",
  build: {
    outDir: resolve(here, "../built"),
    emptyOutDir: false,
    target: "es2022",
    minify: false,
    lib: {entry: resolve(here, "ani3d.js"), formats: ["es"], fileName: () => "ani3d-spark.js"},
    rollupOptions: {external: ["three", "@sparkjsdev/spark"]},
  },
};
