"""What an answer says that is an error."""

from __future__ import annotations

from pydantic import BaseModel


class ErrorOut(BaseModel):
    """One bad field."""

    path: str
    message: str


class ProblemOut(BaseModel):
    """RFC 9457; the body of every answer from 400 on."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[ErrorOut] = []
