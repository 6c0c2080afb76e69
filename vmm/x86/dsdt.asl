DefinitionBlock ("", "DSDT", 2, "FERRY", "FERRY", 1) { }
