/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/manifest.h"

/* praas.json comes from whoever deploys: any text gives functions or an error in words. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct praas_manifest m = { 0 };
	char error[PRAAS_JSON_ERROR_MAX];
	int rc = praas_manifest_parse((const char *)data, bytes, "/code", &m, error);

	if ((rc == 0) != (error[0] == '\0'))
		__builtin_trap();
	praas_manifest_release(&m);
	return 0;
}
