SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#document",
  deepLinking: true,
  // Or it would send the document's address elsewhere.
  validatorUrl: null,
});
