import type { CodegenConfig } from "@graphql-codegen/cli";

const config: CodegenConfig = {
  schema: "../../schema.graphql",
  documents: "src/operations.ts",
  emitLegacyCommonJSImports: false,
  importExtension: ".js",
  generates: {
    "src/generated/": {
      preset: "client",
      presetConfig: { fragmentMasking: false },
      config: {
        documentMode: "string",
        enumsAsTypes: true,
        useTypeImports: true,
        onlyOperationTypes: true,
        skipTypename: true,
        // What was selected is there, or null; it is never left out.
        avoidOptionals: { field: true, inputValue: false, object: false, defaultValue: false },
        strictScalars: true,
        // All three are strings in JSON: a number would lose digits of large amounts.
        scalars: { BigInt: "string", DateTime: "string", Decimal: "string" },
      },
    },
  },
};

export default config;
