package apiserver

func extensionRows() []resourceRow { return nil }
