# The app registration of hunting-pipeline: an app, its permission with admin consent, and its certificate.
# Sign in first (`az login`). Whoever applies this needs the role Privileged Role Administrator, because the
# resource `consent` grants an application permission.

terraform {
  required_providers {
    azuread = {
      source  = "hashicorp/azuread"
      version = "~> 3.0"
    }
  }
}

variable "tenant_id" {
  description = "Entra tenant id"
  type        = string
}

variable "certificate" {
  description = "PEM file with the certificate of the app, without its private key"
  type        = string
  default     = "app.crt"
}

provider "azuread" {
  tenant_id = var.tenant_id
}

data "azuread_application_published_app_ids" "known" {}

resource "azuread_service_principal" "graph" {
  client_id    = data.azuread_application_published_app_ids.known.result["MicrosoftGraph"]
  use_existing = true
}

resource "azuread_application" "hunting" {
  display_name     = "hunting-pipeline"
  sign_in_audience = "AzureADMyOrg"

  required_resource_access {
    resource_app_id = azuread_service_principal.graph.client_id

    resource_access {
      id   = azuread_service_principal.graph.app_role_ids["ThreatHunting.Read.All"]
      type = "Role"
    }
  }
}

resource "azuread_service_principal" "hunting" {
  client_id = azuread_application.hunting.client_id
}

resource "azuread_app_role_assignment" "consent" {
  app_role_id         = azuread_service_principal.graph.app_role_ids["ThreatHunting.Read.All"]
  principal_object_id = azuread_service_principal.hunting.object_id
  resource_object_id  = azuread_service_principal.graph.object_id
}

resource "azuread_application_certificate" "hunting" {
  application_id = azuread_application.hunting.id
  type           = "AsymmetricX509Cert"
  value          = file(var.certificate)
}

output "settings" {
  description = "Settings of hunting-pipeline"
  value = {
    HUNTING_TENANT_ID = var.tenant_id
    HUNTING_CLIENT_ID = azuread_application.hunting.client_id
  }
}
