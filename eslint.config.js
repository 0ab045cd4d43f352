import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Rooms below, from which a room may not import (plugin → training → inference; plugin → dicom). */
const forbidden = {
  dicom: ['inference', 'training', 'plugin', 'fixtures'],
  inference: ['dicom', 'training', 'plugin', 'fixtures'],
  training: ['dicom', 'plugin', 'fixtures'],
};

const directions = Object.entries(forbidden).map(([room, rooms]) => ({
  files: [`${room}/**/*.ts`],
  ignores: ['**/*.test.ts'],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            regex: `^\\.{1,2}/(.*/)?(${rooms.join('|')})/`,
            message: `${room}/ does not know ${rooms.join(', ')}: imports run plugin → training → inference and plugin → dicom.`,
          },
        ],
      },
    ],
  },
}));

export default defineConfig(
  { ignores: ['data/', 'out/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-non-null-assertion': 'off',
      // Indexing is not checked by the compiler, so the rule would call needed checks of its result unnecessary.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', ignoreRestSiblings: true }],
    },
  },
  // jest's asymmetric matchers are typed `any`.
  { files: ['**/*.test.ts'], rules: { '@typescript-eslint/no-unsafe-assignment': 'off' } },
  { files: ['fixtures/jest/*.js'], languageOptions: { globals: { process: 'readonly' } } },
  {
    files: ['plugin/dashboard/**/*.js'],
    languageOptions: {
      globals: {
        addEventListener: 'readonly',
        clearTimeout: 'readonly',
        createImageBitmap: 'readonly',
        document: 'readonly',
        EventSource: 'readonly',
        fetch: 'readonly',
        history: 'readonly',
        location: 'readonly',
        OffscreenCanvas: 'readonly',
        sessionStorage: 'readonly',
        setTimeout: 'readonly',
        URL: 'readonly',
        URLSearchParams: 'readonly',
      },
    },
  },
  ...directions,
);
