"""The REST API: a thin layer over the service, one noun per file."""

from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import HTTPBearer

from engine.runtime.service import Service
from studio.api import credentials, edits, executions, nodes, retention, run_data, variables, workflows
from studio.api.answers import ERRORS, Json, answer_errors
from studio.api.requests import Bounded

# One row per noun: each module brings a `router`.
ROUTERS = (
    workflows.router,
    edits.router,
    executions.router,
    run_data.router,
    variables.router,
    credentials.router,
    nodes.router,
    retention.router,
)


def api_app(service: Service) -> FastAPI:
    """The API as an ASGI app, with its paths written out from `/api` on. Whoever asks is `scope["actor"]`."""
    app = FastAPI(
        title="Flowleaf",
        version="1",
        description="Lists are `{items, next}`; give `next` back as `cursor` for what follows.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        default_response_class=Json,
    )
    app.state.service = service
    answer_errors(app)
    app.add_middleware(Bounded)
    # For the schema: who may ask was decided by the layer around.
    bearer = Depends(HTTPBearer(auto_error=False, description="The token that `flowleaf up` makes."))
    v1 = APIRouter(prefix="/api/v1", dependencies=[bearer], responses=ERRORS)
    for router in ROUTERS:
        v1.include_router(router)
    app.include_router(v1)
    return app
