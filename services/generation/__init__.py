"""The generation service (BentoML): loads releases and turns prompts into sounds over HTTP. It knows no component and no pipeline."""
